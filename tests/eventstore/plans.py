"""How Postgres carries a statement out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from eventstore.database import prepare_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eventstore.database import Connection

Node = dict[str, Any]


async def plan(connection: Connection, statement: str, *arguments: Any) -> list[Node]:
    """The nodes of the plan that serves all values of the parameters, those of them that were carried out."""
    await prepare_session(connection)
    text = statement.replace("@schema@", "turnlog")
    parameters = (await connection.prepare(text)).get_parameters()
    types = ", ".join(f"{parameter.schema}.{parameter.name}" for parameter in parameters)
    await connection.execute(f"PREPARE asked ({types}) AS {text}" if types else f"PREPARE asked AS {text}")
    values = ", ".join(_literal(value) for value in arguments)
    transaction = connection.transaction()
    await transaction.start()
    try:
        asked = f"asked ({values})" if values else "asked"
        explained = json.loads(await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {asked}"))
    finally:
        await transaction.rollback()
        await connection.execute("DEALLOCATE asked")
    return [node for node in nodes(explained[0]["Plan"]) if node["Actual Loops"] > 0]


def relations(nodes: list[Node]) -> set[str]:
    """The tables that a plan looked into."""
    return {node["Relation Name"] for node in nodes if "Relation Name" in node}


def kinds(nodes: list[Node]) -> set[str]:
    """What a plan did."""
    return {node["Node Type"] for node in nodes}


def scans(nodes: list[Node]) -> dict[str, set[str]]:
    """How each table was looked into."""
    found: dict[str, set[str]] = {}
    for node in nodes:
        if "Relation Name" in node and node["Node Type"] != "ModifyTable":
            found.setdefault(node["Relation Name"], set()).add(node["Node Type"])
    return found


def _literal(value: Any) -> str:
    if isinstance(value, list):
        value = "{" + json.dumps(value)[1:-1] + "}"
    return "'" + str(value).replace("'", "''") + "'"


def nodes(node: Node) -> Iterator[Node]:
    """A node of a plan and all below it."""
    yield node
    for child in node.get("Plans", []):
        yield from nodes(child)
