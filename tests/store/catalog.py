"""What PostgreSQL says of a schema, for comparing one with another.

Daily partitions are left out: they depend on the day.
"""

from __future__ import annotations

from typing import Any

import asyncpg

OURS = "c.relnamespace = 'public'::regnamespace AND NOT c.relispartition"

QUESTIONS = {
    "tables": f"""
        SELECT c.relname, c.relkind::text, c.relrowsecurity, c.relforcerowsecurity, c.reloptions::text, c.relacl::text,
               obj_description(c.oid, 'pg_class')
        FROM pg_class c WHERE {OURS} AND c.relkind IN ('r', 'p', 'S', 'v') ORDER BY 1""",
    "columns": f"""
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text,
               a.attacl::text, pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE {OURS} AND c.relkind IN ('r', 'p') ORDER BY c.relname, a.attnum""",
    "constraints": f"""
        SELECT c.relname, k.conname, pg_get_constraintdef(k.oid)
        FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid WHERE {OURS} ORDER BY 1, 2""",
    "indexes": f"""
        SELECT c.relname, pg_get_indexdef(c.oid), obj_description(c.oid, 'pg_class')
        FROM pg_class c WHERE {OURS} AND c.relkind IN ('i', 'I') ORDER BY 1""",
    "functions": """
        SELECT p.proname, pg_get_functiondef(p.oid), p.proacl::text, obj_description(p.oid, 'pg_proc')
        FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace ORDER BY 1, 2""",
    "policies": """
        SELECT tablename, policyname, permissive, roles::text, cmd, qual, with_check
        FROM pg_policies WHERE schemaname = 'public' ORDER BY 1, 2""",
    "triggers": f"""
        SELECT c.relname, t.tgname, pg_get_triggerdef(t.oid)
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE {OURS} AND NOT t.tgisinternal ORDER BY 1, 2""",
}


async def schema_of(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that a migration can make, by kind, in a fixed order."""
    connection = await asyncpg.connect(url)
    try:
        return {name: [tuple(row) for row in await connection.fetch(query)] for name, query in QUESTIONS.items()}
    finally:
        await connection.close()


async def tenant_tables(connection: Any) -> list[str]:
    """Every table that has rows of tenants, from the catalog."""
    rows = await connection.fetch(
        f"""SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
            WHERE {OURS} AND c.relkind IN ('r', 'p') ORDER BY 1"""
    )
    return [row[0] for row in rows]
