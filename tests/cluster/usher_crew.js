'use strict';
// Workers of usherd that listen when they are told to: programs of tests/helpers/fake_listener.c, which
// has their words.

const net = require('net');
const { within } = require('./processes');

const WAIT_MS = 20000;

class Mate {
	constructor(socket) {
		this.socket = socket;
		this.waiting = new Map();
		let rest = '';

		socket.on('error', () => {});
		socket.setEncoding('utf8').on('data', (text) => {
			const lines = (rest + text).split('\n');

			rest = lines.pop();
			lines.forEach((line) => this.hear(line.split(' ')));
		});
	}

	// "hello PID", or "NAME WORD ..." for whoever waits for it.
	hear([name, ...words]) {
		if (name === 'hello')
			this.pid = Number(words[0]);
		const resolve = this.waiting.get(name);

		this.waiting.delete(name);
		if (resolve)
			resolve(words);
	}

	async ask(name, command) {
		const answer = new Promise((resolve) => { this.waiting.set(name, resolve); });

		this.socket.write(`${command}\n`);
		const words = await within(WAIT_MS, answer);

		if (!words)
			throw new Error(`no answer to: ${command}`);
		return words;
	}
}

class Crew {
	constructor(path) {
		this.path = path;
		this.mates = [];
		this.server = net.createServer((socket) => { this.mates.push(new Mate(socket)); });
	}

	open() {
		return new Promise((resolve) => { this.server.listen(this.path, resolve); });
	}

	// "listening" with the address, or the error.
	async listen(worker, name, listen) {
		const where = listen.path ? `path ${listen.path}`
			: listen.fd !== undefined ? `fd ${listen.fd}` : `port ${listen.host || '-'} ${listen.port}`;
		const [word, ...rest] = await this.mates[worker].ask(name, `listen ${name} ${where}`);

		return word === 'listening' ? { address: rest[0] } : { error: rest.slice(1).join(' ') };
	}

	// It has asked for it, and knows nothing yet.
	async askToListen(worker, name, { host, port }) {
		await this.mates[worker].ask(name, `listen_now ${name} port ${host} ${port}`);
	}

	async close(worker, name) {
		await this.mates[worker].ask(name, `close ${name}`);
	}

	end() {
		this.server.close();
		this.mates.forEach(({ socket }) => socket.destroy());
	}
}

module.exports = { Crew };
