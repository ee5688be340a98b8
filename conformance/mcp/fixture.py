"""The server that the MCP conformance suite asks for, on the official SDK: `fixture.py PORT [both|legacy|modern]`.

`legacy` and `modern` refuse the other kind of protocol the way a server does that has never heard of it.
"""

import json
import sys
from typing import Annotated, Any

import anyio
import uvicorn
from mcp import types
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.server.streamable_http import EventCallback, EventId, EventMessage, EventStore, StreamId
from mcp.shared.exceptions import MCPError
from mcp.types import (
    AudioContent,
    CallToolResult,
    Completion,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    EmbeddedResource,
    ImageContent,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    TextContent,
    TextResourceContents,
)
from pydantic import Field

PORT, MODE = int(sys.argv[1]), (sys.argv[2:] or ["both"])[0]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
SILENCE = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
server = MCPServer("conformance-fixture", version="1.0.0", instructions="What the conformance suite asks for.")


def text(value: str) -> TextContent:
    return TextContent(type="text", text=value)


@server.tool()
def test_simple_text() -> str:
    """Returns text."""
    return "This is a simple text response for testing."


@server.tool()
def test_image_content() -> CallToolResult:
    """Returns an image."""
    return CallToolResult(content=[ImageContent(type="image", data=PIXEL, mime_type="image/png")])


@server.tool()
def test_audio_content() -> CallToolResult:
    """Returns a sound."""
    return CallToolResult(content=[AudioContent(type="audio", data=SILENCE, mime_type="audio/wav")])


def embedded(uri: str, mime_type: str, value: str) -> EmbeddedResource:
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type=mime_type, text=value))


@server.tool()
def test_embedded_resource() -> CallToolResult:
    """Returns a resource."""
    return CallToolResult(content=[embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")])


@server.tool()
def test_multiple_content_types() -> CallToolResult:
    """Returns several kinds of content."""
    image = ImageContent(type="image", data=PIXEL, mime_type="image/png")
    resource = embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}')
    return CallToolResult(content=[text("Multiple content types test:"), image, resource])


@server.tool()
async def test_tool_with_logging(ctx: Context) -> str:
    """Logs three times."""
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(line)
        await anyio.sleep(0.05)
    return "Logged three times."


@server.tool()
async def test_logging_tool(ctx: Context) -> str:
    """Logs once."""
    await ctx.info("A log message")
    return "Logged."


@server.tool()
async def test_tool_with_progress(ctx: Context) -> str:
    """Reports progress three times."""
    for done in (0, 50, 100):
        await ctx.report_progress(done, 100)
        await anyio.sleep(0.05)
    return "Done."


@server.tool()
def test_error_handling() -> str:
    """Always fails."""
    raise ToolError("This tool intentionally returns an error for testing")


MODERN = "2026-07-28"


async def gather(ctx: Context, asked: dict[str, Any], state: str | None = None) -> dict[str, Any] | InputRequiredResult:
    """The client's answers to what is asked, in the way of its protocol."""
    if ctx.protocol_version == MODERN:
        found = ctx.input_responses or {}
        if all(name in found for name in asked) and (state is None or ctx.request_state == state):
            return found
        return InputRequiredResult(input_requests=asked, request_state=state)
    answers = {}
    for name, request in asked.items():
        params = getattr(request, "params", None)
        if isinstance(request, ElicitRequest):
            answers[name] = await ctx.session.elicit_form(params.message, params.requested_schema, related_request_id=ctx.request_id)
        elif isinstance(request, CreateMessageRequest):
            answers[name] = await ctx.session.create_message(
                params.messages, max_tokens=params.max_tokens, related_request_id=ctx.request_id
            )
        else:
            answers[name] = await ctx.session.list_roots()
    return answers


@server.tool()
async def test_sampling(prompt: str, ctx: Context) -> str | InputRequiredResult:
    """Asks the client's model."""
    answers = await gather(ctx, {"sample": ask_model(prompt, 100)})
    if isinstance(answers, InputRequiredResult):
        return answers
    return f"LLM response: {getattr(answers['sample'].content, 'text', answers['sample'].content)}"


async def elicited(ctx: Context, message: str, properties: dict[str, Any], required: list[str] | None = None):
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    request = ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))
    answers = await gather(ctx, {"form": request})
    return answers if isinstance(answers, InputRequiredResult) else answers["form"]


@server.tool()
async def test_elicitation(message: str, ctx: Context) -> str | InputRequiredResult:
    """Asks the user."""
    properties = {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    }
    result = await elicited(ctx, message, properties, ["username", "email"])
    if isinstance(result, InputRequiredResult):
        return result
    return f"User response: action: {result.action}, content: {json.dumps(result.content)}"


def completed(result) -> str | InputRequiredResult:
    if isinstance(result, InputRequiredResult):
        return result
    return f"Elicitation completed: action={result.action}, content={json.dumps(result.content)}"


@server.tool()
async def test_elicitation_sep1034_defaults(ctx: Context) -> str | InputRequiredResult:
    """Asks with defaults."""
    properties = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    return completed(await elicited(ctx, "Please review the defaults", properties))


@server.tool()
async def test_elicitation_sep1330_enums(ctx: Context) -> str | InputRequiredResult:
    """Asks for choices."""
    names = ["option1", "option2", "option3"]
    titled = [{"const": f"value{n}", "title": title} for n, title in enumerate(("First Option", "Second Option", "Third Option"), 1)]
    choices = [{"const": f"value{n}", "title": title} for n, title in enumerate(("First Choice", "Second Choice", "Third Choice"), 1)]
    properties = {
        "untitledSingle": {"type": "string", "enum": names},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": names}},
        "titledMulti": {"type": "array", "items": {"anyOf": choices}},
    }
    return completed(await elicited(ctx, "Please choose", properties))


@server.tool()
async def test_reconnection(ctx: Context) -> str:
    """Closes its stream before it answers."""
    await ctx.close_sse_stream()
    await anyio.sleep(0.1)
    return "Reconnection test completed."


SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


@server.tool()
def json_schema_2020_12_tool(name: str = "") -> str:
    """Tool with JSON Schema 2020-12 features"""
    return name


@server.tool()
def test_headers(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    """Has an argument that a header repeats."""
    return region


@server.tool()
async def test_missing_capability(ctx: Context) -> str | InputRequiredResult:
    """Needs sampling."""
    if not (ctx.client_capabilities and ctx.client_capabilities.sampling):
        data = types.MissingRequiredClientCapabilityErrorData(required_capabilities=types.ClientCapabilities(sampling={}))
        raise MCPError(-32021, "sampling is needed", data.model_dump(mode="json", by_alias=True, exclude_none=True))
    return "The client can sample."


def ask_form(message: str, name: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def ask_model(message: str, tokens: int) -> CreateMessageRequest:
    messages = [SamplingMessage(role="user", content=text(message))]
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=messages, max_tokens=tokens))


def accepted(answer) -> dict[str, Any]:
    return (getattr(answer, "content", None) or {}) if getattr(answer, "action", None) == "accept" else {}


@server.tool()
async def test_streaming_elicitation(ctx: Context) -> str | InputRequiredResult:
    """Reports progress, then asks the user."""
    if not ctx.input_responses:
        await ctx.report_progress(1, 2)
    answers = await gather(ctx, {"user_name": ask_form("What is your name?", "name")})
    return answers if isinstance(answers, InputRequiredResult) else "Thank you."


@server.tool()
async def test_input_required_result_elicitation(ctx: Context) -> str | InputRequiredResult:
    """Asks the user for a name."""
    asked = {"user_name": ask_form("What is your name?", "name")}
    answers = await gather(ctx, asked)
    if isinstance(answers, InputRequiredResult):
        return answers
    name = accepted(answers["user_name"]).get("name")
    if not isinstance(name, str):
        return InputRequiredResult(input_requests=asked) if ctx.protocol_version == MODERN else "Nobody is there."
    return f"Hello, {name}!"


@server.tool()
async def test_input_required_result_sampling(ctx: Context) -> str | InputRequiredResult:
    """Asks the model."""
    answers = await gather(ctx, {"capital_question": ask_model("What is the capital of France?", 100)})
    if isinstance(answers, InputRequiredResult):
        return answers
    content = answers["capital_question"].content
    return f"The model says: {getattr(content, 'text', content)}"


@server.tool()
async def test_input_required_result_list_roots(ctx: Context) -> str | InputRequiredResult:
    """Asks for roots."""
    answers = await gather(ctx, {"client_roots": ListRootsRequest()})
    if isinstance(answers, InputRequiredResult):
        return answers
    return "Roots: " + ", ".join(str(root.uri) for root in answers["client_roots"].roots)


@server.tool()
async def test_input_required_result_request_state(ctx: Context) -> str | InputRequiredResult:
    """Asks for a confirmation, and keeps a state."""
    answers = await gather(ctx, {"confirm": ask_form("Please confirm", "ok", "boolean")}, "state")
    return answers if isinstance(answers, InputRequiredResult) else "state-ok"


@server.tool()
async def test_input_required_result_tampered_state(ctx: Context) -> str | InputRequiredResult:
    """As the last one."""
    return await test_input_required_result_request_state(ctx)


@server.tool()
async def test_input_required_result_multiple_inputs(ctx: Context) -> str | InputRequiredResult:
    """Asks three questions at once."""
    asked = {
        "user_name": ask_form("What is your name?", "name"),
        "greeting": ask_model("Generate a greeting", 50),
        "client_roots": ListRootsRequest(),
    }
    answers = await gather(ctx, asked, "three")
    return answers if isinstance(answers, InputRequiredResult) else "All three are answered."


@server.tool()
async def test_input_required_result_multi_round(ctx: Context) -> str | InputRequiredResult:
    """Asks one question after the other."""
    if ctx.request_state != "round-2":
        first = await gather(ctx, {"step1": ask_form("Step 1: What is your name?", "name")}, "round-1")
        if isinstance(first, InputRequiredResult):
            return first
    second = await gather(ctx, {"step2": ask_form("Step 2: What is your favorite color?", "color")}, "round-2")
    if isinstance(second, InputRequiredResult):
        return second
    return f"Your color is {accepted(second['step2']).get('color')}."


@server.tool()
async def test_input_required_result_capabilities(ctx: Context) -> str | InputRequiredResult:
    """Asks only what the client can answer."""
    can = ctx.client_capabilities
    asked = {}
    if can and can.sampling is not None:
        asked["sample"] = ask_model("Hello", 10)
    if can and can.elicitation is not None:
        asked["form"] = ask_form("Hello", "name")
    answers = await gather(ctx, asked) if asked else {}
    return answers if isinstance(answers, InputRequiredResult) else "Nothing more to ask."


CHANGES = []


@server.tool()
async def test_trigger_tool_change(ctx: Context) -> str:
    """Changes the list of tools."""
    CHANGES.append(None)
    server.add_tool(lambda: "new", name=f"new_tool_{len(CHANGES)}", description="A new tool.")
    await changed(ctx, "tools")
    return "There is a new tool."


@server.tool()
async def test_trigger_prompt_change(ctx: Context) -> str:
    """Changes the list of prompts."""
    CHANGES.append(None)
    await changed(ctx, "prompts")
    return "Prompts have changed."


async def changed(ctx: Context, what: str) -> None:
    if ctx.protocol_version == MODERN:
        await getattr(ctx, f"notify_{what}_changed")()
    else:
        await getattr(ctx.session, f"send_{what[:-1]}_list_changed")()


@server.prompt()
def test_simple_prompt() -> str:
    """A prompt."""
    return "This is a simple prompt for testing."


@server.prompt()
def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    """A prompt with arguments."""
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


@server.prompt()
def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:
    """A prompt with a resource."""
    return [
        UserMessage(embedded(resourceUri, "text/plain", "Embedded resource content for testing.")),
        UserMessage("Please process the embedded resource above."),
    ]


@server.prompt()
def test_prompt_with_image() -> list[UserMessage]:
    """A prompt with an image."""
    image = ImageContent(type="image", data=PIXEL, mime_type="image/png")
    return [UserMessage(image), UserMessage("Please analyze the image above.")]


@server.prompt()
async def test_input_required_result_prompt(ctx: Context) -> Any:
    """A prompt that asks the user first."""
    answers = await gather(ctx, {"user_context": ask_form("What context should the prompt use?", "context")})
    if isinstance(answers, InputRequiredResult):
        return answers
    return f"The context is {accepted(answers['user_context']).get('context')}."


@server.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    """Text."""
    return "This is the content of the static text resource."


@server.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    """Bytes."""
    import base64

    return base64.b64decode(PIXEL)


@server.resource("test://template/{id}/data", mime_type="application/json")
def template(id: str) -> str:
    """A template."""
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


@server.resource("test://watched-resource", mime_type="text/plain")
def watched() -> str:
    """A resource to subscribe to."""
    return "Watched resource content."


@server.completion()
async def complete(ref, argument, context) -> Completion:
    return Completion(values=[v for v in ("paris", "park", "party") if v.startswith(argument.value)], total=3, has_more=False)


class Events(EventStore):
    """Keeps all events, so that a stream can be resumed."""

    def __init__(self):
        self.events: list[tuple[StreamId, Any]] = []

    async def store_event(self, stream_id: StreamId, message) -> EventId:
        self.events.append((stream_id, message))
        return str(len(self.events))

    async def replay_events_after(self, last_event_id: EventId, send_callback: EventCallback) -> StreamId | None:
        at = int(last_event_id)
        stream = self.events[at - 1][0]
        for number, (other, message) in list(enumerate(self.events[at:], at + 1)):
            if other == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


class OnlyOneKind:
    """Refuses requests of the other kind of protocol."""

    def __init__(self, app, is_modern: bool):
        self.app, self.is_modern = app, is_modern

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            version = dict(scope["headers"]).get(b"mcp-protocol-version", b"")
            if (version == b"2026-07-28") != self.is_modern:
                error = {"code": -32022 if self.is_modern else -32000, "message": "Bad Request: Unsupported protocol version"}
                if self.is_modern:
                    error["data"] = {"supported": ["2026-07-28"], "requested": version.decode()}
                body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()
                headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
                await send({"type": "http.response.start", "status": 400, "headers": headers})
                await send({"type": "http.response.body", "body": body})
                return
        await self.app(scope, receive, send)


def main():
    server._tool_manager.get_tool("json_schema_2020_12_tool").parameters = SCHEMA
    lowlevel = server._lowlevel_server

    async def nothing(ctx, params):
        return types.EmptyResult()

    # What the suite's subscriptions and log levels need of a server with sessions.
    lowlevel.add_request_handler("logging/setLevel", types.SetLevelRequestParams, nothing)
    lowlevel.add_request_handler("resources/subscribe", types.SubscribeRequestParams, nothing)
    lowlevel.add_request_handler("resources/unsubscribe", types.UnsubscribeRequestParams, nothing)
    app = server.streamable_http_app(event_store=Events(), retry_interval=500)
    if MODE != "both":
        app = OnlyOneKind(app, MODE == "modern")
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")


main()
