"""What a client of a2a-sdk 1.x does with an agent, as JSON.

    client_v1.py URL BINDING [--webhook URL] [--header NAME=VALUE]...
"""

import argparse
import asyncio
import json
import uuid

import httpx
from a2a.client import ClientConfig, ClientFactory
from a2a.client.card_resolver import A2ACardResolver
from a2a.types import a2a_pb2 as pb


def message(text):
    return pb.SendMessageRequest(
        message=pb.Message(message_id=str(uuid.uuid4()), role=pb.Role.ROLE_USER, parts=[pb.Part(text=text)])
    )


def told(event):
    """An event without what differs from run to run."""
    kind = event.WhichOneof("payload")
    match kind:
        case "task":
            return [kind, pb.TaskState.Name(event.task.status.state), [p.text for a in event.task.artifacts for p in a.parts]]
        case "status_update":
            return [kind, pb.TaskState.Name(event.status_update.status.state)]
        case "artifact_update":
            return [kind, [part.text for part in event.artifact_update.artifact.parts]]
    return [kind]


async def run(options):
    headers = dict(header.split("=", 1) for header in options.header)
    seen = {}
    async with httpx.AsyncClient(timeout=20, headers=headers) as http:
        card = await A2ACardResolver(http, options.url).get_agent_card()
        seen["card"] = [card.name, [interface.url for interface in card.supported_interfaces], len(card.signatures)]

        def client(streaming):
            config = ClientConfig(
                streaming=streaming, httpx_client=http, supported_protocol_bindings=[options.binding], use_client_preference=True
            )
            return ClientFactory(config).create(card)

        plain, streaming = client(False), client(True)
        answers = [event async for event in plain.send_message(message("hello"))]
        seen["send"] = [told(event) for event in answers]
        task = answers[-1].task.id
        got = await plain.get_task(pb.GetTaskRequest(id=task))
        seen["get"] = [got.id == task, pb.TaskState.Name(got.status.state)]
        listed = await plain.list_tasks(pb.ListTasksRequest(context_id=got.context_id))
        seen["list"] = [entry.id == task for entry in listed.tasks]
        seen["stream"] = [told(event) async for event in streaming.send_message(message("steps 3"))]

        # A task that lasts: another stream joins it, and it is canceled.
        slow = streaming.send_message(message("slow"))
        first = await anext(slow)
        task = first.task.id
        joined = streaming.subscribe(pb.SubscribeToTaskRequest(id=task))
        seen["joined"] = told(await anext(joined))[0]
        canceled = await plain.cancel_task(pb.CancelTaskRequest(id=task))
        seen["cancel"] = pb.TaskState.Name(canceled.status.state)
        seen["slow ends"] = [told(event) async for event in slow][-1]
        seen["joined ends"] = [told(event) async for event in joined][-1]

        if options.webhook:
            slow = streaming.send_message(message("steps 4"))
            task = (await anext(slow)).task.id
            config = pb.TaskPushNotificationConfig(task_id=task, id="c1", url=options.webhook, token="secret-token")
            made = await plain.create_task_push_notification_config(config)
            seen["push"] = [made.url == options.webhook, made.id]
            one = await plain.get_task_push_notification_config(pb.GetTaskPushNotificationConfigRequest(task_id=task, id="c1"))
            all_of_them = await plain.list_task_push_notification_configs(pb.ListTaskPushNotificationConfigsRequest(task_id=task))
            seen["push read"] = [one.url == options.webhook, len(all_of_them.configs)]
            seen["push ends"] = [told(event) async for event in slow][-1]
            await plain.delete_task_push_notification_config(pb.DeleteTaskPushNotificationConfigRequest(task_id=task, id="c1"))
            left = await plain.list_task_push_notification_configs(pb.ListTaskPushNotificationConfigsRequest(task_id=task))
            seen["push deleted"] = len(left.configs)
        try:
            await plain.get_task(pb.GetTaskRequest(id="no-such-task"))
        except Exception as error:
            seen["no task"] = type(error).__name__
        extended = await plain.get_extended_agent_card(pb.GetExtendedAgentCardRequest())
        seen["extended"] = [extended.name, [interface.url for interface in extended.supported_interfaces], len(extended.signatures)]
    print(json.dumps(seen))


parser = argparse.ArgumentParser()
parser.add_argument("url")
parser.add_argument("binding")
parser.add_argument("--webhook")
parser.add_argument("--header", action="append", default=[])
asyncio.run(run(parser.parse_args()))
