"""The protobuf messages come without the Go library, and are neonize's own where that is loaded too."""

import subprocess
import sys

import pytest


def _run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_messages_are_usable_and_the_shared_library_is_not_loaded() -> None:
    out = _run(
        "from bridge.protos import e2e, neonize_pb, adv, wa6, cert, common, server_sync, sync_action, companion_reg\n"
        "import sys\n"
        "assert e2e.Message.FromString(e2e.Message(conversation='hi').SerializeToString()).conversation == 'hi'\n"
        "assert 'neonize' not in sys.modules\n"
        "print('neonize-' in open('/proc/self/maps').read())"
    )
    assert out == "False"


def test_a_module_is_imported_only_when_it_is_named() -> None:
    assert _run("import bridge.protos, sys; print('google.protobuf' in sys.modules)") == "False"


@pytest.mark.engine
@pytest.mark.parametrize("ours_first", [True, False])
def test_messages_are_the_same_classes_as_those_of_the_real_neonize(ours_first: bool) -> None:
    ours = "from bridge.protos import e2e, neonize_pb"
    theirs = "import neonize; from neonize.proto import Neonize_pb2"
    first, second = (ours, theirs) if ours_first else (theirs, ours)
    out = _run(
        f"{first}\n{second}\n"
        "from waE2E.WAWebProtobufsE2E_pb2 import Message\n"
        "print('same', Neonize_pb2.JID is neonize_pb.JID, Message is e2e.Message)"
    )
    assert out.splitlines()[-1] == "same True True"


def test_an_unknown_name_is_refused_like_any_missing_attribute() -> None:
    from bridge import protos

    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = protos.nothing_of_the_kind
