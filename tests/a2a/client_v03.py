"""What a client of a2a-sdk 0.3 does with an agent, as JSON.

    client_v03.py URL TRANSPORT [--webhook URL] [--header NAME=VALUE]...
"""

import argparse
import asyncio
import json
import uuid

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.types import (
    GetTaskPushNotificationConfigParams,
    Message,
    Part,
    PushNotificationConfig,
    Role,
    Task,
    TaskIdParams,
    TaskPushNotificationConfig,
    TaskQueryParams,
    TaskStatusUpdateEvent,
    TextPart,
)


def message(text):
    return Message(message_id=str(uuid.uuid4()), role=Role.user, parts=[Part(root=TextPart(text=text))])


def told(event):
    """An event without what differs from run to run."""
    if not isinstance(event, tuple):
        return ["message"]
    task, update = event
    if update is None:
        return ["task", task.status.state, [p.root.text for a in task.artifacts or [] for p in a.parts]]
    if isinstance(update, TaskStatusUpdateEvent):
        return ["status_update", update.status.state]
    return ["artifact_update", [part.root.text for part in update.artifact.parts]]


async def run(options):
    headers = dict(header.split("=", 1) for header in options.header)
    seen = {}
    async with httpx.AsyncClient(timeout=20, headers=headers) as http:
        card = await A2ACardResolver(http, options.url).get_agent_card()
        seen["card"] = [card.name, [card.url, *(i.url for i in card.additional_interfaces or [])], len(card.signatures or [])]

        def client(streaming):
            config = ClientConfig(
                streaming=streaming, httpx_client=http, supported_transports=[options.transport], use_client_preference=True
            )
            return ClientFactory(config).create(card)

        plain, streaming = client(False), client(True)
        answers = [event async for event in plain.send_message(message("hello"))]
        seen["send"] = [told(event) for event in answers]
        task = answers[-1][0].id
        got = await plain.get_task(TaskQueryParams(id=task))
        seen["get"] = [got.id == task, got.status.state]
        seen["stream"] = [told(event) async for event in streaming.send_message(message("steps 3"))]

        # A task that lasts: another stream joins it.
        steps = streaming.send_message(message("steps 6"))
        task = (await anext(steps))[0].id
        joined = [told(event) async for event in streaming.resubscribe(TaskIdParams(id=task))]
        seen["joined"] = [joined[-1], any("step 5" in event[-1] for event in joined)]
        seen["steps end"] = [told(event) async for event in steps][-1]

        # And one that is canceled.
        slow = streaming.send_message(message("slow"))
        task = (await anext(slow))[0].id
        canceled = await plain.cancel_task(TaskIdParams(id=task))
        seen["cancel"] = canceled.status.state
        await slow.aclose()

        if options.webhook:
            slow = streaming.send_message(message("steps 4"))
            task = (await anext(slow))[0].id
            config = PushNotificationConfig(id="c1", url=options.webhook, token="secret-token")
            made = await plain.set_task_callback(TaskPushNotificationConfig(task_id=task, push_notification_config=config))
            seen["push"] = [made.push_notification_config.url == options.webhook, made.push_notification_config.id]
            one = await plain.get_task_callback(GetTaskPushNotificationConfigParams(id=task, push_notification_config_id="c1"))
            seen["push read"] = one.push_notification_config.url == options.webhook
            seen["push ends"] = [told(event) async for event in slow][-1]
        try:
            await plain.get_task(TaskQueryParams(id="no-such-task"))
        except Exception as error:
            seen["no task"] = type(error).__name__
        extended = await plain.get_card()
        urls = [extended.url, *(i.url for i in extended.additional_interfaces or [])]
        seen["extended"] = [extended.name, urls, len(extended.signatures or [])]
    print(json.dumps(seen), flush=True)


parser = argparse.ArgumentParser()
parser.add_argument("url")
parser.add_argument("transport")
parser.add_argument("--webhook")
parser.add_argument("--header", action="append", default=[])
asyncio.run(run(parser.parse_args()))
