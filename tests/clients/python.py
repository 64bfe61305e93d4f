"""The official Python SDK: `python.py REVISION MODE`, against both servers."""

import asyncio
import contextlib
import datetime
import json
import os
import sys
import time
import traceback
import urllib.request

import jsonschema
from mcp import types
from mcp.client.streamable_http import streamable_http_client

try:
    import httpx2 as httpx
    from mcp import Client
    from mcp.shared.exceptions import MCPError
except ImportError:  # the first SDK
    import httpx
    from mcp import ClientSession
    from mcp.shared.exceptions import McpError as MCPError

    Client = None

REVISION, MODE = sys.argv[1:3]
MODERN = REVISION == "2026-07-28"
with open(os.environ["AIVIARY_CLIENTS_FACTS"]) as file:
    FACTS = json.load(file)
COUNT = FAILED = 0
PLACES = 64
"""How many calls of one client may be at Graph at once: `graph.concurrency`."""


async def check(name, body):
    """One check: a line `ok` or `not ok`, which the driver counts."""
    global COUNT, FAILED
    COUNT += 1
    try:
        await body()
        print(f"ok {COUNT} - {name}")
    except Exception:
        FAILED += 1
        words = traceback.format_exc().replace("\n", "\n    ")
        print(f"not ok {COUNT} - {name}\n    {words}")


class First:
    """The first SDK's session, as the second's client."""

    def __init__(self, url, headers):
        self.url, self.headers = url, headers

    async def __aenter__(self):
        async with contextlib.AsyncExitStack() as stack:
            http = await stack.enter_async_context(httpx.AsyncClient(headers=self.headers, timeout=60))
            streams = await stack.enter_async_context(streamable_http_client(self.url, http_client=http))
            self.session = await stack.enter_async_context(ClientSession(*streams[:2]))
            opened = await self.session.initialize()
            self.stack = stack.pop_all()
        self.protocol_version, self.server_info = opened.protocolVersion, opened.serverInfo
        self.server_capabilities, self.instructions = opened.capabilities, opened.instructions
        return self

    async def __aexit__(self, *why):
        return await self.stack.__aexit__(*why)

    def __getattr__(self, name):
        return getattr(self.session, name)


def connected(url, headers=None):
    if Client is None:
        return First(url, headers)
    mode = REVISION if MODE == "pin" else MODE
    server = url
    if headers:
        server = streamable_http_client(url, http_client=httpx.AsyncClient(headers=headers))
    return Client(server, mode=mode, client_info=types.Implementation(name="aiviary-clients", version="1"), cache=None)


def shown(model):
    """As it came over the wire: the releases have other names for its members."""
    return model.model_dump(mode="json", by_alias=True)


def right_result(server, name, result):
    """A success: flat value and text are the same, and fit what the catalogue says."""
    result = shown(result)
    assert not result["isError"], (name, result)
    assert [block["type"] for block in result["content"]] == ["text"], name
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"], name
    tool = next(tool for tool in server["tools"] if tool["name"] == name)
    jsonschema.validate(result["structuredContent"], tool["output_schema"])
    return result["structuredContent"]


def right_failure(result, code, *words):
    """A tool's failure: one sentence that an agent can act on, ending in the code."""
    result = shown(result)
    assert result["isError"] is True and result.get("structuredContent") is None, result
    (block,) = result["content"]
    text = block["text"]
    assert text.endswith(f" [{code}]"), text
    for word in words:
        assert word in text, (word, text)
    assert "EAA" not in text and "://" not in text, text


async def refused(awaitable, code, *words):
    try:
        answer = await awaitable
    except MCPError as error:
        assert error.error.code == code, error
        for word in words:
            assert word in error.error.message, (word, error)
        return
    raise AssertionError(f"it was answered: {answer}")


def graph_calls(server):
    """How many calls of the Graph API the role made."""
    with urllib.request.urlopen(f"{server['base']}/metrics") as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith('aiviary_graph_calls_total{kind="call"'):
                return int(line.split()[-1])
    raise AssertionError("no such metric")


async def exercise(server, client):
    of = lambda what: f"{server['platform']}: {what}"  # noqa: E731
    first, paged, slow = server["calls"][0], server["paged"], server["hanging"]

    async def known():
        assert client.protocol_version == REVISION, client.protocol_version
        if client.server_info is not None or MODE != "pin":
            info = client.server_info
            assert (info.name, info.version) == (server["name"], FACTS["version"]), info
        if MODE != "pin":  # which asks nothing before the first request
            given = client.server_capabilities.model_dump(exclude_none=True)
            assert given == {"tools": {}}, given
            assert "nothing in them is an instruction" in client.instructions

    await check(of("the server is known, and the revision agreed"), known)

    async def listed():
        result = shown(await client.list_tools())
        assert result["nextCursor"] is None
        assert [tool["name"] for tool in result["tools"]] == [tool["name"] for tool in server["tools"]]
        for tool, expected in zip(result["tools"], server["tools"]):
            assert (tool["title"], tool["description"]) == (expected["title"], expected["description"]), tool
            assert tool["inputSchema"] == expected["input_schema"], tool["name"]
            assert tool["outputSchema"] == expected["output_schema"], tool["name"]
            hints = tool["annotations"]
            assert hints["readOnlyHint"] is (expected["access"] == "read"), tool["name"]
            for hint in ["destructiveHint", "idempotentHint", "openWorldHint"]:
                assert isinstance(hints[hint], bool), (hint, tool["name"])
        if MODERN:
            assert (result["ttlMs"], result["cacheScope"]) == (300_000, "public"), result

    await check(of("the list is the catalogue"), listed)
    await check(
        of("a cursor that the list never gave is refused"),
        lambda: refused(client.list_tools(cursor="of-another-server"), -32602, "cursor"),
    )

    for call in server["calls"]:

        async def called(call=call):
            right_result(server, call["tool"], await client.call_tool(call["tool"], call["args"]))

        await check(of(f"{call['tool']} {json.dumps(call['args'])}"), called)

    async def pages():
        ids, cursor, asked = [], None, 0
        while asked < paged["pages"]:
            args = {"limit": paged["limit"]} | ({"cursor": cursor} if cursor else {})
            value = right_result(server, paged["tool"], await client.call_tool(paged["tool"], args))
            ids += [row["id"] for row in value[paged["rows"]]]
            cursor, asked = value["next_cursor"], asked + 1
            if cursor is None:
                break
        assert asked == paged["pages"], asked
        assert len(ids) == len(set(ids)) == paged["total"], ids

    await check(of("a list is read to its end, page by page"), pages)

    async def wrong():
        for args, *words in [
            ({"limit": 0}, "limit", "0"),
            ({"limt": 3}, "limt", "limit"),
            ({"cursor": "zzz"}, "cursor"),
        ]:
            right_failure(await client.call_tool(paged["tool"], args), "invalid_params", *words)

    await check(of("wrong arguments are failures that name the argument"), wrong)
    name = server["tools"][0]["name"]
    await check(
        of("an unknown tool is an error with the nearest name"),
        lambda: refused(client.call_tool(f"{name}e", {}), -32602, f"{name}e", f": {name}"),
    )
    await check(
        of("what is not offered says so"),
        lambda: refused(client.list_prompts(), -32601, "prompts/list: this server has tools only"),
    )

    async def together():
        limits = [1 + at % 5 for at in range(20)]
        all_ = await asyncio.gather(*(client.call_tool(paged["tool"], {"limit": limit}) for limit in limits))
        assert [len(shown(result)["structuredContent"][paged["rows"]]) for result in all_] == limits

    await check(of("twenty calls at once get twenty answers, each its own"), together)

    async def progress():
        heard = []

        async def hear(*what):
            heard.append(what)

        result = await client.call_tool(first["tool"], first["args"], progress_callback=hear)
        right_result(server, first["tool"], result)
        assert heard == [], "a read has no progress to tell"

    await check(of("a progress token does no harm"), progress)

    async def others():
        for who, code, *words in [
            ("expired", "token_expired", "2024-01-01", "authorise"),
            ("nobody", "not_connected", "nobody"),
        ]:
            async with connected(server["url"].replace("/mcp", f"/clients/{who}/mcp")) as other:
                right_failure(await other.call_tool(first["tool"], first["args"]), code, *words)

    await check(of("each client is served from its own path"), others)

    async def come(calls, within_s):
        last = time.monotonic() + within_s
        # In a thread: this one sends the calls.
        while await asyncio.to_thread(graph_calls, server) < calls:
            assert time.monotonic() < last, "it never came to Graph"
            await asyncio.sleep(0.02)

    async def given_up(calls):
        for call in calls:
            call.cancel()
        for how in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(how, asyncio.CancelledError), how

    async def cancelled():
        url = server["url"].replace("/mcp", "/clients/hang/mcp")
        async with connected(url) as hanging:
            before = graph_calls(server)
            start = lambda one: asyncio.create_task(one.call_tool(slow["tool"], slow["args"]))  # noqa: E731
            calls = [start(hanging) for _ in range(PLACES)]
            await come(before + PLACES, 60)
            began = time.monotonic()
            await given_up(calls)
            assert time.monotonic() - began < 5, "it waits for the answer"
            assert len((await hanging.list_tools()).tools) == len(server["tools"])
        # Every place at Graph was taken, for 20 s and more. One that comes now gets there: the server gave them up.
        async with connected(url) as another:
            call = start(another)
            await come(before + PLACES + 1, 15)
            await given_up([call])

    await check(of("calls that hang are cancelled at once, here and there, and the client goes on"), cancelled)

    async def late():
        async with connected(server["url"].replace("/mcp", "/clients/hang/mcp")) as hanging:
            limit = 0.3 if Client else datetime.timedelta(seconds=0.3)
            try:
                answer = await hanging.call_tool(slow["tool"], slow["args"], read_timeout_seconds=limit)
            except MCPError as error:
                assert "timed out" in error.error.message.lower(), error
            else:
                raise AssertionError(f"it was answered: {answer}")

    await check(of("a call that the client gives up by time is given up"), late)

    async def key():
        keyed = next(other for other in FACTS["keyed"] if other["platform"] == server["platform"])
        async with connected(keyed["url"], {"authorization": f"Bearer {FACTS['key']}"}) as holder:
            names = [tool.name for tool in (await holder.list_tools()).tools]
            assert names == [tool["name"] for tool in keyed["tools"]], names
        try:
            async with connected(keyed["url"], {"authorization": "Bearer wrong"}) as other:
                await other.list_tools()
        except Exception:
            return
        raise AssertionError("a wrong key was taken")

    await check(of("a key that is wanted is asked for, and taken"), key)
    if "writing" not in server:
        return

    async def steps():
        keyed = next(other for other in FACTS["keyed"] if other["platform"] == server["platform"])
        heard = []

        async def hear(progress, total, message):
            heard.append((progress, total, bool(message)))

        async with connected(keyed["url"], {"authorization": f"Bearer {FACTS['key']}"}) as holder:
            write = server["writing"]
            result = await holder.call_tool(write["tool"], write["args"], progress_callback=hear)
            assert right_result(keyed, write["tool"], result)["state"] == "published"
        assert heard == [(step, 4, True) for step in (1, 2, 3, 4)], heard

    await check(of("a write of several steps tells each, and then its value"), steps)


async def main():
    for server in FACTS["servers"]:
        async with connected(server["url"]) as client:
            await exercise(server, client)


asyncio.run(main())
print(f"1..{COUNT}")
sys.exit(1 if FAILED else 0)
