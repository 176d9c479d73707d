"""Each assertion of a case has a sentence that names the request and what was expected."""

from __future__ import annotations

import ast

from tests.syntax_trees import tree_of
from tests.test_tidy import cases, none_of, relative


def is_text(message: ast.expr | None, texts: set[str]) -> bool:
    """Return whether a message is a text: a literal, a join of texts, or a name of a text."""
    match message:
        case ast.JoinedStr() | ast.Constant(value=str()):
            return True
        case ast.Name(id=name):
            return name in texts
        case ast.BinOp(left=left, op=ast.Add()):
            return is_text(left, texts)
        case ast.Call(func=ast.Attribute(value=value, attr="join" | "format")):
            return is_text(value, texts)
    return False


def names_of_texts(function: ast.AST) -> set[str]:
    """Return the names to which a text is assigned in a function."""
    return {
        target.id
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and is_text(node.value, set())
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def bare_asserts(tree: ast.Module) -> list[tuple[int, str]]:
    """Return the line and the text of each assertion without a sentence."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [
        (node.lineno, ast.unparse(node))
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.Assert) and not is_text(node.msg, names_of_texts(function))
    ]


def test_each_assertion_of_a_case_has_its_sentence() -> None:
    found = [
        f"{relative(path)}:{line}: {text}"
        for path in cases()
        for line, text in bare_asserts(tree_of(path))
    ]
    none_of(found, "add a sentence that names the request, or use qbdcheck.kit.expectations")


def test_bare_values_are_found_as_messages() -> None:
    text = """
def test(disk):
    wrong = f"read of 0+4096: expected {1}, got {2}"
    event = {"a": 1}
    assert disk.a == 1
    assert disk.a == 2, event
    assert disk.a == 3, (disk, event)
    assert disk.a == 4, disk.errors[0]
    assert disk.a == 5, wrong
    assert disk.a == 6, f"read of {disk}"
    assert disk.a == 7, "a" + wrong
"""
    assert [line for line, _ in bare_asserts(ast.parse(text))] == [5, 6, 7, 8]
