"""The ids of new documents."""

from bson import ObjectId

from taskapi.core.ids import deterministic_ids, new_id, new_seed


def test_seed_yields_identical_ids_on_every_run() -> None:
    seed = new_seed()
    with deterministic_ids(seed):
        first = [new_id() for _ in range(300)]
    with deterministic_ids(seed):
        again = [new_id() for _ in range(300)]
    assert first == again == sorted(set(first))
    assert first[0] == seed
    assert {identity.binary[:9] for identity in first} == {seed.binary[:9]}
    assert first[-1].binary[9:] == (299).to_bytes(3, "big")


def test_seeds_differ_from_each_other_and_ordinary_ids() -> None:
    randoms = [new_seed().binary[4:9] for _ in range(100)]
    assert len(set(randoms)) == 100
    assert ObjectId().binary[4:9] not in randoms


def test_ids_outside_a_repeatable_request_are_unique() -> None:
    with deterministic_ids(new_seed()):
        inside = new_id()
    assert new_id().binary[4:9] == ObjectId().binary[4:9] != inside.binary[4:9]
