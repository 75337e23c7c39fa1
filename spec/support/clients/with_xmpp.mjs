// A client by xmpp.js.

import { randomUUID, webcrypto } from "node:crypto";
import { once } from "node:events";
import { setTimeout } from "node:timers/promises";
import { load, serve } from "./commands.mjs";

// What browsers have, and newer Nodes.
globalThis.WebSocket = (await load("ws")).default;
globalThis.crypto ??= webcrypto;

const { client, xml } = await load("@xmpp/client");
const { default: parse } = await load("@xmpp/xml/lib/parse.js");

const userAgent = xml("user-agent", { id: randomUUID() });
let xmpp;

// Connects until there is a session with stream management; whether it is the old one.
async function session(connect) {
	const resumed = await new Promise((resolve, reject) => {
		xmpp.once("online", () => resolve(false));
		xmpp.streamManagement.once("resumed", () => resolve(true));
		connect().catch(reject);
	});
	// It is "online" before that, and counts nothing yet.
	while (!xmpp.streamManagement.enabled) await setTimeout(1);
	if (!resumed) await xmpp.send(xml("presence"));
	return resumed;
}

// Sends a request; there must be a result.
async function request(element) {
	const id = randomUUID();
	const answer = new Promise((resolve, reject) => {
		xmpp.on("stanza", function listener(stanza) {
			if (!stanza.is("iq") || stanza.attrs.id !== id) return;
			xmpp.off("stanza", listener);
			if (stanza.attrs.type === "result") resolve();
			else reject(new Error(stanza.toString()));
		});
	});
	await xmpp.send(xml("iq", { type: "set", id }, element));
	await answer;
}

// As most apps do it, but then xmpp.js does not count the answer: it acknowledges one stanza too few.
const miscounted = (element) => xmpp.iqCaller.request(xml("iq", { type: "set" }, element));

const enable = ({ jid, node, secret }) => xml("enable", { xmlns: "urn:xmpp:push:0", jid, node },
	xml("x", { xmlns: "jabber:x:data", type: "submit" },
		xml("field", { var: "FORM_TYPE" }, xml("value", {}, "http://jabber.org/protocol/pubsub#publish-options")),
		xml("field", { var: "secret" }, xml("value", {}, secret))));

serve({
	async log_in({ jid, password, url, push }, message) {
		const [username, domain] = jid.split("@");
		// Its SCRAM takes a second.
		const credentials = (authenticate) => authenticate({ username, password }, "PLAIN");
		xmpp = client({ service: url, domain, credentials, userAgent });
		if (push) xmpp.bind2.use("urn:xmpp:push:0", () => enable(push), () => {});
		xmpp.reconnect.stop();
		xmpp.on("stanza", (stanza) => {
			const body = stanza.is("message") && stanza.getChildText("body");
			if (body) message(body);
		});
		xmpp.on("error", () => {}); // which is that of a promise, too
		await session(() => xmpp.start());
		return xmpp.jid.toString();
	},

	enable: (push) => request(enable(push)),

	enable_miscounting: (push) => miscounted(enable(push)).then(() => {}),

	disable: ({ jid, node }) => request(xml("disable", { xmlns: "urn:xmpp:push:0", jid, node })),

	request: (text) => request(parse(text)),

	// Without a word: the socket of the connection, or that of its WebSocket.
	async cut() {
		const gone = once(xmpp, "disconnect");
		if (xmpp.socket.destroy) xmpp.socket.destroy();
		else xmpp.socket.socket.terminate();
		await gone;
	},

	async come_back() {
		return { resumed: await session(() => xmpp.reconnect.reconnect()) };
	},

	close: () => xmpp.stop().then(() => {}),
});
