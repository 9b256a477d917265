import json
import re
from pathlib import Path

import pytest

from bench.peers.options import Options, Served, read_options
from bench.peers.peer import PEERS, Peer, class_ids, raw
from loadtest.target import Target

ROOT = Path(__file__).parents[3]


def test_every_peer_is_a_module_and_no_two_are_alike() -> None:
    assert len({peer.name for peer in PEERS}) == len({peer.module for peer in PEERS}) == len(PEERS)
    for peer in PEERS:
        file = ROOT / (peer.module.replace(".", "/") + ".py")
        assert (
            f"import {peer.package}" in file.read_text()
            or f"from {peer.package}" in file.read_text()
        )


def test_a_peer_reads_the_command_line_that_starts_it() -> None:
    for peer in PEERS:
        served = Served(Path("store/s32/7"), "bfloat16", "ordinary")
        command = peer.command(8123, served)
        assert command[1:3] == ["-m", peer.module]
        assert read_options(command[3:]) == Options(8123, served)


def test_a_peer_whose_package_is_absent_is_not_available() -> None:
    assert Peer("here", "bench.peers.fastapi", "fastapi", "/", raw).available()
    assert not Peer("gone", "bench.peers.gone", "no_such_package", "/", raw).available()


def test_a_request_goes_to_the_peers_path() -> None:
    target = Target("127.0.0.1", 81, "127.0.0.1:81", "/elsewhere")
    head, _, body = PEERS[0].request(target, b"a file").partition(b"\r\n\r\n")
    assert head.startswith(b"POST /classify HTTP/1.1\r\n")
    assert b"Content-Length: 6\r\n" in head + b"\r\n"
    assert body == b"a file"


def test_every_peer_gets_the_file_as_the_whole_body() -> None:
    for peer in PEERS:
        headers, body = peer.encode(b"\xff\xd8 file")
        assert body == b"\xff\xd8 file"
        assert headers.get("Inference-Header-Content-Length", "0") == "0"


def test_classes_are_read_from_both_forms_of_answers() -> None:
    ours = {"predictions": [{"class_id": 3, "label": "cat", "score": 0.7}, {"class_id": 1}]}
    outputs = [{"name": "score", "data": [0.7, 0.2]}, {"name": "class_id", "data": [3, 1]}]
    assert class_ids(json.dumps(ours).encode()) == [3, 1]
    assert class_ids(json.dumps({"outputs": outputs}).encode()) == [3, 1]


@pytest.mark.parametrize(
    "answer", [b"{}", b"[]", b"no JSON", b'{"predictions": 3}', b'{"outputs": []}']
)
def test_what_is_no_classification_is_refused(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"no classification|Expecting value"):
        class_ids(answer)


def test_engine_and_decoder_are_the_same_releases_as_the_services() -> None:
    theirs, ours = (_versions(name) for name in ("peers", "service"))
    for package in ("openvino", "pillow", "numpy", "fastapi", "uvicorn"):
        assert theirs[package] == ours[package]


def _versions(lock: str) -> dict[str, str]:
    text = (ROOT / "locks" / f"{lock}.txt").read_text()
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE))
