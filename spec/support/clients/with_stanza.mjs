// A client by stanza.js, which speaks XMPP over WebSocket.

import { once } from "node:events";
import { load, serve } from "./commands.mjs";

const { default: { createClient } } = await load("stanza");

let xmpp;

// Connects until there is a session: the old one, or a new one.
async function connect() {
	const session = Promise.race([
		once(xmpp, "session:started").then(() => false),
		once(xmpp, "stream:management:resumed").then(() => true),
		once(xmpp, "stream:error").then(([error]) => Promise.reject(error)),
	]);
	xmpp.connect();
	const resumed = await session;
	if (!resumed) xmpp.sendPresence();
	return resumed;
}

serve({
	async log_in({ jid, password, url }, message) {
		xmpp = createClient({ jid, password, transports: { websocket: url, bosh: false }, autoReconnect: false });
		xmpp.on("message", ({ body }) => body && message(body));
		await connect();
		return xmpp.jid;
	},

	async enable({ jid, node, secret }) {
		await xmpp.enableNotifications(jid, node, [{ name: "secret", value: secret }]);
	},

	disable: ({ jid, node }) => xmpp.disableNotifications(jid, node).then(() => {}),

	async cut() {
		const gone = once(xmpp, "disconnected");
		xmpp.transport.socket.terminate();
		await gone;
	},

	come_back: () => connect().then((resumed) => ({ resumed })),

	async close() {
		const gone = once(xmpp, "disconnected");
		xmpp.disconnect();
		await gone;
	},
});
