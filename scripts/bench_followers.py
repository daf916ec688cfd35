"""Accounts that follow their events: one for each stream of ``bench_streams``, written straight to the database."""

from datetime import timedelta
from typing import Any

from bench_load import SECRET, Bench
from bson import ObjectId
from pymongo import MongoClient

from taskapi.accounts.security.access_tokens import TokenCodec
from taskapi.core.keys import Keyring

LIFETIME = timedelta(days=1)


def add_followers(bench: Bench, count: int) -> list[str]:
    """Access tokens of so many new accounts, which are copies of one that has signed in; each has a session of its own."""
    codec = TokenCodec(Keyring([SECRET]).signing_keys(), lifetime=LIFETIME)
    with MongoClient[dict[str, Any]](bench.uri) as mongo:
        database = mongo[bench.database]
        user = database["users"].find_one({"_id": bench.readers[0].id})
        assert user
        session = database["sessions"].find_one({"_id": user["sessions"][0]})
        assert session
        users, sessions, tokens = [], [], []
        for number in range(count):
            user_id, session_id, name = ObjectId(), ObjectId(), f"follower{number}"
            users.append({**user, "_id": user_id, "username": name, "username_key": name, "sessions": [session_id]})
            sessions.append({**session, "_id": session_id, "user": user_id, "token_hash": session_id.binary})
            tokens.append(codec.encode(str(user_id), str(session_id), session["scopes"], LIFETIME))
        database["users"].insert_many(users)
        database["sessions"].insert_many(sessions)
    return tokens
