'use strict';
// What all cases do as clients: connect, say a byte, and see what becomes of it.

const net = require('net');

// What has not happened by then does not happen: the answer to a byte takes less than a millisecond.
// Some of what Node.js is asked for never happens, of usher all is wanted, however busy the machine.
const HANG_MS = 5000;
const PATIENCE_MS = 20000;

class Client {
	constructor(target) {
		this.patienceMs = target.patienceMs || HANG_MS;
		this.waiting = [];
		this.received = 0;
		this.socket = net.connect(target);
		this.socket.on('connect', () => this.look());
		this.socket.on('data', (data) => {
			this.received += data.length;
			this.look();
		});
		this.socket.on('error', (error) => { this.error = error; });
		this.socket.on('close', () => {
			this.closed = true;
			this.look();
		});
	}

	look() {
		this.waiting = this.waiting.filter((attempt) => !attempt());
	}

	// The word for the first condition that is met, or "hangs".
	first(conditions) {
		return new Promise((resolve) => {
			const timer = setTimeout(() => settle('hangs'), this.patienceMs);
			const settle = (word) => {
				clearTimeout(timer);
				resolve(word);
			};

			this.waiting.push(() => {
				const found = Object.entries(conditions).find(([, isMet]) => isMet());

				if (found)
					settle(found[0]);
				return found !== undefined;
			});
			this.look();
		});
	}

	// "connected", "refused", or the name of another error.
	async arrival() {
		const word = await this.first({
			connected: () => !this.socket.connecting && !this.closed,
			failed: () => this.closed,
		});

		if (word !== 'failed')
			return word;
		return this.error && this.error.code !== 'ECONNREFUSED' ? this.error.code : 'refused';
	}

	// Whether an echo comes: "served", "closed" or "hangs".
	ask() {
		const before = this.received;

		if (!this.closed)
			this.socket.write('x');
		return this.first({
			served: () => this.received > before,
			closed: () => this.closed,
		});
	}

	// Without a word: "closed", or "goes on" if an echo still comes.
	async fate() {
		const word = await this.ask();

		return word === 'served' ? 'goes on' : word;
	}

	// When it has closed, if ever.
	closing() {
		return new Promise((resolve) => {
			if (this.closed)
				resolve('closed');
			else
				this.socket.once('close', () => resolve('closed'));
		});
	}

	end() {
		this.socket.destroy();
	}
}

// One after the other, so that each is accepted before the next.
async function connect(target, count) {
	const clients = [];

	for (let i = 0; i < count; i++) {
		const client = new Client(target);
		const word = await client.arrival();

		if (word !== 'connected')
			throw new Error(`a connection was not made: ${word}`);
		clients.push(client);
	}
	return clients;
}

// "served", "served 3, hangs 1": how often each word, the good ones first.
function tell(words) {
	const order = ['served', 'goes on', 'connected', 'closed', 'refused', 'hangs'];
	const kinds = [...new Set(words)].sort((a, b) => order.indexOf(a) - order.indexOf(b));

	if (words.length === 1)
		return words[0];
	if (kinds.length === 1)
		return `all ${words.length}: ${kinds[0]}`;
	return kinds.map((kind) => `${words.filter((word) => word === kind).length} ${kind}`).join(', ');
}

// A client of its own: "served", "refused", ...
async function visit(target) {
	const client = new Client(target);
	const word = await client.arrival();

	return word === 'connected' ? client.ask() : word;
}

// Each is served before the next one comes.
async function connectServed(target, count) {
	const clients = [];

	for (let i = 0; i < count; i++) {
		const [client] = await connect(target, 1);
		const word = await client.ask();

		if (word !== 'served')
			throw new Error(`a client was not served: ${word}`);
		clients.push(client);
	}
	return clients;
}

async function askAll(clients) {
	return tell(await Promise.all(clients.map((client) => client.ask())));
}

module.exports = { Client, HANG_MS, PATIENCE_MS, askAll, connect, connectServed, tell, visit };
