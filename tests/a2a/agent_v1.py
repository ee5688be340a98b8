"""A sample agent of a2a-sdk 1.x: A2A 1.0 over JSON-RPC and HTTP+JSON, and 0.3 on the same endpoints when it is asked to.

    agent_v1.py PORT [--compat] [--name NAME]
"""

import argparse
import asyncio

import httpx
import uvicorn
from a2a.helpers.proto_helpers import new_task_from_user_message, new_text_part
from a2a.server.agent_execution.agent_executor import AgentExecutor
from a2a.server.request_handlers.default_request_handler_v2 import DefaultRequestHandlerV2
from a2a.server.routes.agent_card_routes import create_agent_card_routes
from a2a.server.routes.jsonrpc_routes import create_jsonrpc_routes
from a2a.server.routes.rest_routes import create_rest_routes
from a2a.server.tasks.base_push_notification_sender import BasePushNotificationSender
from a2a.server.tasks.inmemory_push_notification_config_store import InMemoryPushNotificationConfigStore
from a2a.server.tasks.inmemory_task_store import InMemoryTaskStore
from a2a.server.tasks.task_updater import TaskUpdater
from a2a.types.a2a_pb2 import AgentCapabilities, AgentCard, AgentCardSignature, AgentInterface, AgentSkill
from starlette.applications import Starlette


class Executor(AgentExecutor):
    """`echo x` is done at once, `steps n` in n pieces, `slow` when it is canceled."""

    async def execute(self, context, event_queue):
        task = context.current_task
        if task is None:
            task = new_task_from_user_message(context.message)
            await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        text = context.get_user_input()
        await updater.start_work()
        word, _, rest = text.partition(" ")
        if word == "slow":
            for _ in range(300):
                await asyncio.sleep(0.1)
        elif word == "steps":
            for step in range(int(rest)):
                await updater.add_artifact([new_text_part(f"step {step}")], name="step")
                await asyncio.sleep(0.2)
        else:
            await updater.add_artifact([new_text_part(f"echo: {text}")], name="echo")
        await updater.complete()

    async def cancel(self, context, event_queue):
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def card(port, name, skills):
    base = f"http://127.0.0.1:{port}"
    interfaces = [
        AgentInterface(url=f"{base}/rpc", protocol_binding="JSONRPC", protocol_version="1.0"),
        AgentInterface(url=base, protocol_binding="HTTP+JSON", protocol_version="1.0"),
    ]
    return AgentCard(
        name=name,
        description="echoes",
        version="1",
        supported_interfaces=interfaces,
        capabilities=AgentCapabilities(streaming=True, push_notifications=True, extended_agent_card=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id=skill, name=skill, description=skill, tags=["x"]) for skill in skills],
        signatures=[AgentCardSignature(protected="eyJhbGciOiJFUzI1NiJ9", signature="c2lnbmF0dXJl")],
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--compat", action="store_true")
    parser.add_argument("--name", default="agent-v1")
    options = parser.parse_args()
    public = card(options.port, options.name, ["echo"])
    configs = InMemoryPushNotificationConfigStore()
    handler = DefaultRequestHandlerV2(
        agent_executor=Executor(),
        task_store=InMemoryTaskStore(),
        agent_card=public,
        push_config_store=configs,
        push_sender=BasePushNotificationSender(httpx.AsyncClient(), configs),
        extended_agent_card=card(options.port, options.name + "-extended", ["echo", "secret"]),
    )
    routes = [
        *create_agent_card_routes(public),
        *create_jsonrpc_routes(handler, "/rpc", enable_v0_3_compat=options.compat),
        *create_rest_routes(handler, enable_v0_3_compat=options.compat),
    ]
    uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=options.port, log_level="info")


if __name__ == "__main__":
    main()
