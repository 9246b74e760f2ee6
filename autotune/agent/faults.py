"""The two ways out of a request: a fault that goes back as an error, and leaving altogether."""

from __future__ import annotations

from autotune.agent.protocol import ErrorBody, ErrorKind


class Fault(Exception):
    """A request that can't be carried out; becomes the reply's error."""

    def __init__(self, kind: ErrorKind, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.kind: ErrorKind = kind
        self.message = message
        self.hint = hint

    @property
    def body(self) -> ErrorBody:
        return {"kind": self.kind, "message": self.message, "hint": self.hint}


class Leave(Exception):
    """Stop serving: the controller is gone, or a signal came. What is changed must be restored first."""

    def __init__(self, why: str, exit_code: int = 0) -> None:
        super().__init__(why)
        self.why = why
        self.exit_code = exit_code


def permission_fault(problem: OSError) -> Fault:
    """The fault for an operation that the kernel refused."""
    return Fault(
        "not permitted",
        f"{problem.filename or 'the kernel'}: {problem.strerror}",
        "run as root, or allow passwordless sudo",
    )
