"""A Hub on this machine: models in memory behind the part of the Hub's HTTP interface that its client uses.

It reads the card's metadata as the Hub does, keeps branches and commits, and takes one token.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import yaml

TOKEN = "hf_right"
Files = dict[str, bytes]
REVISION = r"(refs/pr/\d+|[^/]+)"


class Repository:
    """Commits by hash, branches by name."""

    def __init__(self, name: str, private: bool) -> None:
        self.name, self.private = name, private
        self.commits: dict[str, Files] = {}
        self.branches: dict[str, str] = {}
        self.requests: dict[int, str] = {}  # authors of the open pull requests, whose branches are `refs/pr/NUMBER`
        self.commit("main", {}, b"")

    def commit(self, branch: str, files: Files, salt: bytes) -> str:
        sha = hashlib.sha1(self.name.encode() + branch.encode() + self.branches.get(branch, "").encode() + salt)
        self.commits[sha.hexdigest()] = files
        self.branches[branch] = sha.hexdigest()
        return sha.hexdigest()

    def at(self, revision: str) -> tuple[str, Files] | None:
        sha = self.branches.get(revision.removeprefix("refs/heads/"), revision)
        return (sha, self.commits[sha]) if sha in self.commits else None


class LocalHub:
    """`with LocalHub() as hub: ...` serves at `hub.url`; `hub.log` holds the requests."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.blobs: Files = {}
        self.log: list[str] = []
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> LocalHub:
        Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.server.shutdown()
        self.server.server_close()

    def environment(self, home: Any, token: str | None = TOKEN) -> dict[str, str]:
        """What a process needs to take this for the Hub."""
        given = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        given |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        return given | ({"HF_TOKEN": token} if token else {})


def python(hub: LocalHub, home: Path, code: str, token: str | None = TOKEN, **more: str) -> str:
    """What a fresh process prints that takes the local Hub for the Hub, with `more` environment variables."""
    there = {key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "HF_TOKEN")}
    run = subprocess.run(
        [sys.executable, "-c", code], env=there | hub.environment(home, token) | more, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


class _Handler(BaseHTTPRequestHandler):
    hub: LocalHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, code: int, body: Any = b"", **headers: str) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.hub.log.append(f"{self.command} {self.path} {code}")
        self.send_response(code)
        headers.setdefault("Content_Length", str(len(raw)))
        headers.setdefault(
            "Content_Type", "application/octet-stream" if isinstance(body, bytes) else "application/json"
        )
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def refuse(self, code: int, kind: str, **more: str) -> None:
        self.answer(code, {"error": kind}, X_Error_Code=kind, X_Error_Message=kind, **more)

    def body(self) -> bytes:
        if "chunked" not in (self.headers.get("Transfer-Encoding") or ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = b""
        while size := int(self.rfile.readline().strip(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    @property
    def token(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def found(self, name: str, revision: str) -> tuple[Repository, str, Files] | None:
        """The files asked for; None when the refusal has been sent."""
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and self.token != TOKEN):
            self.refuse(404 if self.token == TOKEN else 401, "RepoNotFound")
            return None
        here = repository.at(revision)
        if here is None:
            self.refuse(404, "RevisionNotFound")
            return None
        return repository, *here

    def do_PUT(self) -> None:
        self.hub.blobs[self.path.rsplit("/", 1)[1]] = self.body()
        self.answer(200)

    def do_POST(self) -> None:
        path, raw = urlparse(self.path).path, self.body()
        if path == "/api/validate-yaml":  # the client sends no token there
            return self.answer(200, {"errors": [], "warnings": []})
        if self.token != TOKEN:
            return self.answer(401, {"error": "Invalid credentials in Authorization header"})
        if path == "/api/repos/create":
            return self.create(json.loads(raw))
        if found := re.fullmatch(r"/(.+?)\.git/info/lfs/objects/batch", path):
            return self.large_files(json.loads(raw)["objects"])
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit|paths-info|branch)/(.+)", path)
        if not found:
            return self.refuse(404, "EntryNotFound")
        name, verb, revision = found[1], found[2], unquote(found[3])
        if verb == "branch":
            return self.branch(name, revision)
        here = self.found(name, revision)
        if here is None:
            return None
        if verb == "commit":
            return self.commit(here[0], revision, here[2], raw)
        if verb == "paths-info":
            paths = json.loads(raw)["paths"] if raw[:1] == b"{" else parse_qs(raw.decode()).get("paths", [])
            return self.answer(200, [_entry(one, here[2][one]) for one in paths if one in here[2]])
        files = [
            {"path": path, "shouldIgnore": False, "oid": None, "uploadMode": "lfs" if _large(path) else "regular"}
            for path in (one["path"] for one in json.loads(raw)["files"])
        ]
        return self.answer(200, {"files": files})

    def create(self, asked: dict[str, Any]) -> None:
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        answer = {"url": f"{self.hub.url}/{name}", "name": name, "id": name}
        if name in self.hub.repositories:
            return self.answer(409, {"error": "You already created this model repo", **answer})
        self.hub.repositories[name] = Repository(name, bool(asked.get("private")))
        return self.answer(200, answer)

    def branch(self, name: str, branch: str) -> None:
        here = self.found(name, "main")
        if here is None:
            return None
        if branch in here[0].branches:
            return self.answer(409, {"error": "Reference already exists"})
        here[0].branches[branch] = here[1]
        return self.answer(201, {})

    def large_files(self, objects: list[dict[str, Any]]) -> None:
        known = self.hub.blobs
        told = [
            one if one["oid"] in known else
            {**one, "actions": {"upload": {"href": f"{self.hub.url}/_lfs/{one['oid']}", "header": {}}}}
            for one in objects
        ]  # fmt: skip
        raw = json.dumps({"transfer": "basic", "objects": told}).encode()
        self.answer(200, raw, Content_Type="application/vnd.git-lfs+json")

    def commit(self, repository: Repository, branch: str, files: Files, raw: bytes) -> None:
        new = dict(files)
        for line in raw.splitlines():
            told = json.loads(line)
            value = told["value"]
            if told["key"] == "file":
                new[value["path"]] = base64.b64decode(value["content"])
            elif told["key"] == "lfsFile":
                new[value["path"]] = self.hub.blobs[value["oid"]]
            elif told["key"] == "deletedFile":
                new.pop(value["path"], None)
        sha = repository.commit(branch, new, raw)
        url = f"{self.hub.url}/{repository.name}/commit/{sha}"
        self.answer(200, {"success": True, "commitOid": sha, "commitUrl": url})

    def do_GET(self) -> None:
        url = urlparse(self.path)
        path = unquote(url.path)
        if path == "/api/whoami-v2":
            known = {"type": "user", "name": "me", "orgs": [], "auth": {"accessToken": {"role": "write"}}}
            return self.answer(200, known) if self.token == TOKEN else self.refuse(401, "Unauthorized")
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/discussions", path):
            here = self.found(found[1], "main")
            return None if here is None else self.answer(200, _discussions(here[0]))
        if found := re.fullmatch(rf"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/{REVISION})?(?:/(.+))?", path):
            here = self.found(found[1], found[3] or "main")
            if here is None:
                return None
            if found[2] == "tree":
                below = [one for one in here[2] if not found[4] or one.startswith(found[4].rstrip("/") + "/")]
                return self.answer(200, [_entry(one, here[2][one]) for one in sorted(below)])
            return self.answer(200, _described(*here))
        if found := re.fullmatch(rf"/([^/]+/[^/]+)/resolve/{REVISION}/(.+)", path):
            here = self.found(found[1], found[2])
            return None if here is None else self.file(here[1], here[2], found[3])
        return self.refuse(404, "EntryNotFound")

    do_HEAD = do_GET

    def file(self, sha: str, files: Files, path: str) -> None:
        if path not in files:
            return self.refuse(404, "EntryNotFound", X_Repo_Commit=sha)
        entry, raw = _entry(path, files[path]), files[path]
        tag = entry.get("lfs", entry)["oid"]
        headers = {"X_Repo_Commit": sha, "ETag": f'"{tag}"', "Accept_Ranges": "bytes"}
        return self.answer(200, raw, **headers)


def _large(path: str) -> bool:
    return path.endswith(".safetensors")


def _entry(path: str, raw: bytes) -> dict[str, Any]:
    oid = hashlib.sha1(b"blob %d\0" % len(raw) + raw).hexdigest()
    entry = {"type": "file", "oid": oid, "size": len(raw), "path": path}
    large = {"lfs": {"oid": hashlib.sha256(raw).hexdigest(), "size": len(raw), "pointerSize": 134}}
    return entry | large if _large(path) else entry


def _discussions(repository: Repository) -> dict[str, Any]:
    told = [
        {"title": "Adding `safetensors` variant of this model", "num": number, "author": {"name": author},
         "createdAt": "2026-01-01T00:00:00.000Z", "status": "open", "isPullRequest": True,
         "repo": {"name": repository.name, "type": "model"}}
        for number, author in repository.requests.items()
    ]  # fmt: skip
    return {"discussions": told, "count": len(told), "start": 0}


def _described(repository: Repository, sha: str, files: Files) -> dict[str, Any]:
    """What the Hub tells of a model, the card's metadata read as it reads them."""
    parts = files.get("README.md", b"").decode().split("---\n")
    card = yaml.safe_load(parts[1]) if len(parts) > 2 else {}
    return {
        "_id": "0" * 24, "id": repository.name, "modelId": repository.name, "sha": sha, "private": repository.private,
        "gated": False, "disabled": False, "downloads": 0, "likes": 0, "tags": card.get("tags", []),
        "createdAt": "2026-01-01T00:00:00.000Z", "lastModified": "2026-01-01T00:00:00.000Z", "cardData": card,
        "siblings": [{"rfilename": name} for name in sorted(files)],
        **{key: card[key] for key in ("pipeline_tag", "library_name") if key in card},
    }  # fmt: skip
