"""The shipped files of nginx in a folder of a test, with ports of the test's own."""

import os
import re
import subprocess
from pathlib import Path
from string import Template

from tests.tools import needs

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "nginx.conf"
SITE = ROOT / "scripts" / "nginx-site.conf"
SNIPPETS = ROOT / "scripts" / "nginx"
INSTALLED = "/opt/taskapi/scripts/nginx/"
ORIGIN = "https://app.example.com"


def shipped() -> str:
    """All that the container's nginx reads, as one text."""
    return "\n".join(path.read_text() for path in [CONFIGURATION, *sorted(SNIPPETS.glob("*.conf"))])


def replaced(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        assert old in text, f"nginx's files have no {old!r} any more"
        text = text.replace(old, new)
    return text


def install(folder: Path, changes: dict[str, str]) -> None:
    """Copies the snippets; each of ``changes`` must be found in one of them."""
    assert not [old for old in changes if old not in shipped()]
    for path in SNIPPETS.glob("*.conf"):
        text = path.read_text().replace(INSTALLED, f"{folder}/")
        for old, new in changes.items():
            text = text.replace(old, new)
        (folder / path.name).write_text(text)
    template = Template((SNIPPETS / "origins.conf.template").read_text())
    origins = template.safe_substitute(TASKAPI_CORS_ORIGINS=f"http://localhost:3000, {ORIGIN}")  # as the image's envsubst
    (folder / "origins.conf").write_text(origins)


def with_tls(text: str, folder: Path, certificates: str, listen: dict[str, str], *, redirect: bool) -> str:
    """The steps that the comment on TLS tells: its server uncommented, with a certificate, the other one redirecting."""
    before, block = re.split(r"^ *# server \{\n", text, flags=re.MULTILINE)
    text = before + re.sub(r"^( *)# ?", r"\1", "# server {\n" + block, flags=re.MULTILINE)
    if redirect:
        text = text.replace("api.conf;", "redirect.conf;", 1)
    make = [needs("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    make += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    make += ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    subprocess.run(make, check=True, capture_output=True)
    return replaced(text, {certificates: f"{folder}/", **listen})


def configuration(
    folder: Path,
    *,
    listen: int,
    api: int,
    tls: int | None = None,
    redirect: bool = False,
    changes: dict[str, str] | None = None,
) -> Path:
    """nginx.conf with other ports and a folder of the test instead of /tmp; with ``tls``, that server is uncommented."""
    install(folder, changes or {})
    here = {" /tmp/": f" {folder}/", INSTALLED: f"{folder}/", "listen 8080": f"listen 127.0.0.1:{listen}"}
    text = replaced(CONFIGURATION.read_text(), {**here, "server api:8000;": f"server 127.0.0.1:{api};"})
    if tls:
        ports = {"listen 8443 ssl": f"listen 127.0.0.1:{tls} ssl"}
        text = with_tls(text, folder, "/etc/nginx/tls/", ports, redirect=redirect)
    path = folder / "nginx.conf"
    path.write_text(text)
    return path


def site_configuration(folder: Path, *, listen: int, api: int, tls: int | None = None) -> Path:
    """The nginx.conf of Debian's package, with our site as its only one."""
    install(folder, {})
    here = {"listen 80;": f"listen 127.0.0.1:{listen};", "listen [::]:80;": f"listen [::1]:{listen};"}
    here |= {INSTALLED: f"{folder}/", "/var/log/nginx/": f"{folder}/", "127.0.0.1:8000": f"127.0.0.1:{api}"}
    text = replaced(SITE.read_text(), here)
    if tls:
        ports = {"listen 443 ssl": f"listen 127.0.0.1:{tls} ssl", "listen [::]:443 ssl": f"listen [::1]:{tls} ssl"}
        text = with_tls(text, folder, "/etc/letsencrypt/live/tasks.example.com/", ports, redirect=True)
    (folder / "site.conf").write_text(text)
    needs("nginx", "nginx-light")
    system = Path("/etc/nginx/nginx.conf").read_text()
    system = re.sub(r"^(user|include .*modules-enabled|\tinclude .*conf\.d).*\n", "", system, flags=re.MULTILINE)
    path = folder / "nginx.conf"
    here = {"/etc/nginx/sites-enabled/*": str(folder / "site.conf"), "/var/log/nginx/": f"{folder}/", "/run/": f"{folder}/"}
    path.write_text(replaced(system, here))
    return path


def nginx(path: Path) -> list[str]:
    directives = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")  # the folder is readable by its owner alone
    return [needs("nginx", "nginx-light"), "-e", "stderr", "-p", str(path.parent), "-c", str(path), "-g", directives]
