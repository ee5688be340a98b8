"""A sample agent of a2a-sdk 0.3: over JSON-RPC at / and over HTTP+JSON below /v1.

    agent_v03.py PORT
"""

import asyncio
import sys

import httpx
import uvicorn
from a2a.server.agent_execution import AgentExecutor
from a2a.server.apps import A2ARESTFastAPIApplication, A2AStarletteApplication
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.tasks import (
    BasePushNotificationSender,
    InMemoryPushNotificationConfigStore,
    InMemoryTaskStore,
    TaskUpdater,
)
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentCardSignature,
    AgentInterface,
    AgentSkill,
    Part,
    TextPart,
)
from a2a.utils import new_task


class Executor(AgentExecutor):
    """`echo x` is done at once, `steps n` in n pieces, `slow` when it is canceled."""

    def __init__(self):
        self.canceled = set()

    async def execute(self, context, event_queue):
        task = context.current_task
        if task is None:
            task = new_task(context.message)
            await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        text = context.get_user_input()
        await updater.start_work()
        word, _, rest = text.partition(" ")

        def part(text):
            return Part(root=TextPart(text=text))

        if word == "slow":
            for _ in range(300):
                if task.id in self.canceled:
                    return
                await asyncio.sleep(0.1)
        elif word == "steps":
            for step in range(int(rest)):
                await updater.add_artifact([part(f"step {step}")], name="step")
                await asyncio.sleep(0.2)
        else:
            await updater.add_artifact([part(f"echo: {text}")], name="echo")
        await updater.complete()

    async def cancel(self, context, event_queue):
        self.canceled.add(context.task_id)
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def card(port, name, skills):
    base = f"http://127.0.0.1:{port}"
    return AgentCard(
        name=name,
        description="echoes",
        version="1",
        url=f"{base}/",
        preferred_transport="JSONRPC",
        additional_interfaces=[
            AgentInterface(url=f"{base}/", transport="JSONRPC"),
            AgentInterface(url=base, transport="HTTP+JSON"),
        ],
        capabilities=AgentCapabilities(streaming=True, push_notifications=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id=skill, name=skill, description=skill, tags=["x"]) for skill in skills],
        supports_authenticated_extended_card=True,
        signatures=[AgentCardSignature(protected="eyJhbGciOiJFUzI1NiJ9", signature="c2lnbmF0dXJl")],
    )


def main():
    port = int(sys.argv[1])
    public, extended = card(port, "agent-v03", ["echo"]), card(port, "agent-v03-extended", ["echo", "secret"])
    configs = InMemoryPushNotificationConfigStore()
    handler = DefaultRequestHandler(
        agent_executor=Executor(),
        task_store=InMemoryTaskStore(),
        push_config_store=configs,
        push_sender=BasePushNotificationSender(httpx.AsyncClient(), configs),
    )
    rpc = A2AStarletteApplication(agent_card=public, http_handler=handler, extended_agent_card=extended).build()
    rest = A2ARESTFastAPIApplication(agent_card=public, http_handler=handler, extended_agent_card=extended).build()
    # Both bindings on one port: what the one does not know is the other's.
    rpc.mount("", rest)
    uvicorn.run(rpc, host="127.0.0.1", port=port, log_level="info")


if __name__ == "__main__":
    main()
