"""Keys made from the service's secrets."""

from taskapi.core.keys import SIGNATURE_BYTES, Keyring

OLD, NEW = "an old secret of 32 bytes or more", "a new secret of 32 bytes or more!"


def test_signature_covers_message_context_and_key() -> None:
    signer = Keyring([OLD]).signer("one purpose")
    signature = signer.sign(b"context", b"message")
    assert len(signature) == SIGNATURE_BYTES
    assert signer.verify(signature, b"context", b"message")
    assert not signer.verify(signature, b"contextm", b"essage")
    assert not signer.verify(signature, b"", b"contextmessage")
    assert not signer.verify(signature, b"context", b"massage")
    assert not signer.verify(signature[:-1], b"context", b"message")
    assert not Keyring([OLD]).signer("another purpose").verify(signature, b"context", b"message")
    assert not Keyring([NEW]).signer("one purpose").verify(signature, b"context", b"message")


def test_signatures_of_a_kept_old_secret_verify() -> None:
    signature = Keyring([OLD]).signer("purpose").sign(b"", b"message")
    both = Keyring([NEW, OLD]).signer("purpose")
    assert both.verify(signature, b"", b"message")
    assert both.sign(b"", b"message") == Keyring([NEW]).signer("purpose").sign(b"", b"message")


def test_ciphertext_decrypts_with_its_own_key_only() -> None:
    sealed = Keyring([OLD]).cipher("purpose").encrypt("a secret")
    assert b"a secret" not in sealed
    assert Keyring([NEW, OLD]).cipher("purpose").decrypt(sealed) == "a secret"
    assert Keyring([NEW]).cipher("purpose").decrypt(sealed) is None
    assert Keyring([OLD]).cipher("another").decrypt(sealed) is None
    assert Keyring([OLD]).cipher("purpose").decrypt(sealed[:-1]) is None
    assert Keyring([OLD]).cipher("purpose").decrypt(b"") is None


def test_ciphertext_of_an_old_secret_is_reencrypted_once() -> None:
    sealed = Keyring([OLD]).cipher("purpose").encrypt("a secret")
    both = Keyring([NEW, OLD]).cipher("purpose")
    renewed = both.renewed(sealed)
    assert Keyring([NEW]).cipher("purpose").decrypt(renewed) == "a secret"
    assert both.renewed(renewed) == renewed
