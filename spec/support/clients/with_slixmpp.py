"""A client by slixmpp. Its commands are those of commands.mjs."""

import asyncio
import json
import sys
from urllib.parse import urlsplit
from xml.etree import ElementTree

import slixmpp

PUSH = "urn:xmpp:push:0"
PUBLISH_OPTIONS = "http://jabber.org/protocol/pubsub#publish-options"


class Client:
    """One account, one resource."""

    def __init__(self, write):
        self.write = write
        self.xmpp = self.address = None

    async def connect(self):
        """Until there is a session; whether it is the old one."""
        session = asyncio.get_running_loop().create_future()
        for event, resumed in (("session_start", False), ("session_resumed", True)):
            self.xmpp.add_event_handler(
                event, lambda _, resumed=resumed: session.done() or session.set_result(resumed), disposable=True)
        self.xmpp.add_event_handler(
            "failed_all_auth", lambda _: session.set_exception(RuntimeError("not authenticated")), disposable=True)
        self.xmpp.connect(self.address, disable_starttls=True, force_starttls=False)
        resumed = await session
        if not resumed:
            self.xmpp.send_presence()
        return resumed

    async def log_in(self, user):
        self.xmpp = slixmpp.ClientXMPP(user["jid"], user["password"])
        url = urlsplit(user["url"])
        self.address = (url.hostname, url.port)
        for plugin in "xep_0004", "xep_0198":
            self.xmpp.register_plugin(plugin)
        self.xmpp.add_event_handler("message", lambda message: self.write({"message": message["body"]}))
        await self.connect()
        return self.xmpp.boundjid.full

    async def request(self, element):
        iq = self.xmpp.make_iq_set()
        iq.append(element if not isinstance(element, str) else ElementTree.fromstring(element))
        await iq.send()

    async def enable(self, push):
        enable = ElementTree.Element(f"{{{PUSH}}}enable", jid=push["jid"], node=push["node"])
        form = self.xmpp["xep_0004"].make_form(ftype="submit")
        form.add_field(var="FORM_TYPE", ftype="hidden", value=PUBLISH_OPTIONS)
        form.add_field(var="secret", value=push["secret"])
        enable.append(form.xml)
        await self.request(enable)

    async def disable(self, push):
        await self.request(ElementTree.Element(f"{{{PUSH}}}disable", jid=push["jid"], node=push["node"]))

    async def cut(self):
        gone = self.xmpp.wait_until("disconnected")
        self.xmpp.abort()
        await gone

    async def come_back(self):
        return {"resumed": await self.connect()}

    async def close(self):
        await self.xmpp.disconnect()


async def serve(reader, writer, done):
    def write(line):
        writer.write(json.dumps(line).encode() + b"\n")

    client = Client(write)
    async for line in reader:
        name, *arguments = json.loads(line)
        try:
            write({"answer": await getattr(client, name)(*arguments)})
        except Exception as error:  # pylint: disable=broad-except # whatever it is, the spec is to say
            write({"error": f"{type(error).__name__}: {error}"})
    done.set()


async def main(address, port):
    done = asyncio.Event()
    async with await asyncio.start_server(lambda *streams: serve(*streams, done), address, int(port)):
        await done.wait()


asyncio.get_event_loop().run_until_complete(main(*sys.argv[1:]))
