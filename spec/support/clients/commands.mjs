// What a spec wants of a client. Commands come over one connection to the address and port given, a line of JSON each:
// [name, argument]. Answers go back, {"answer": ...} or {"error": text}, and what the client gets, {"message": body}.
// The program ends with the connection.

import { createRequire } from "node:module";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const installed = createRequire(`${process.cwd()}/build/clients/`);

export const load = (name) => import(pathToFileURL(installed.resolve(name)));

export function serve(commands) {
	const [address, port] = process.argv.slice(2);
	const server = createServer((connection) => {
		server.close();
		connection.on("close", () => process.exit());
		const write = (line) => connection.write(`${JSON.stringify(line)}\n`);
		createInterface({ input: connection }).on("line", async (line) => {
			const [name, argument] = JSON.parse(line);
			try {
				write({ answer: (await commands[name](argument, (body) => write({ message: body }))) ?? null });
			} catch (error) {
				write({ error: error.stack ?? JSON.stringify(error) });
			}
		});
	});
	server.listen(Number(port), address);
}
