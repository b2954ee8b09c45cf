'use strict';
// One side of the comparison: node_cluster.js, or node_parent.js, with the words that cases use.
//
// Both sides have the same words, and a supervisor, the pid of the process above all others.

const { fork } = require('child_process');
const fs = require('fs');
const path = require('path');
const { HANG_MS } = require('./clients');
const { Remembered, until, within } = require('./processes');

class NodeSide {
	constructor(place) {
		this.name = `Node.js ${process.versions.node}`;
		this.place = place;
		this.replies = new Map();
		this.seen = new Remembered();
		this.next = 0;
	}

	// options: workers; distribute; respawn (true); listen, as net.Server.listen() takes it; times;
	// fd, a descriptor that becomes 3; maxConnections. Returns the errors of listens.
	// With servers, a list of { name, port, host }, it is a parent that passes sockets on.
	start(options) {
		return this.run(options.servers ? 'node_parent.js' : 'node_cluster.js', options);
	}

	// Workers that listen when they are told to. options: workers, fd, slowLookupMs.
	startCrew(options) {
		return this.run('node_crew.js', options);
	}

	async run(program, options) {
		const stdio = ['ignore', 'ignore', 'pipe', options.fd ?? 'ignore', 'ipc'];

		if (!this.child) {
			this.child = fork(path.join(__dirname, program), [], { stdio });
			this.supervisor = this.child.pid;
			this.stderr = '';
			this.child.stderr.setEncoding('utf8').on('data', (text) => { this.stderr += text; });
			this.child.on('message', (word) => this.replies.get(word.id)?.(word));
			this.ended = new Promise((resolve) => { this.child.once('exit', resolve); });
		}
		const verb = this.started ? 'again' : 'start';

		this.started = true;
		const answer = await this.ask({ verb, options: { respawn: true, ...options } });

		this.options = options;
		this.addresses = answer.addresses;
		this.address = answer.address;
		if (answer.errors.length === 0)
			await this.workers();
		return answer.errors;
	}

	// What a client connects to.
	target(name) {
		const address = name ? this.addresses[name] : this.address;

		return typeof address === 'string' ? { path: address }
			: { host: '127.0.0.1', port: address.port };
	}

	async ask(word) {
		const id = this.next++;
		const reply = new Promise((resolve) => { this.replies.set(id, resolve); });

		if (this.child.connected)
			this.child.send({ id, ...word });
		return Promise.race([reply, this.ended.then(() => { throw new Error('the primary died'); })]);
	}

	async workers() {
		const { pids } = await this.ask({ verb: 'workers' });

		pids.forEach((pid) => this.seen.add(pid));
		return pids;
	}

	// { total, workers: { pid: n } }, or undefined when there is no answer in time.
	count(name, ms = HANG_MS) {
		return within(ms, this.ask({ verb: 'count', name }));
	}

	// What server.getConnections() says in the worker that was asked first.
	async getConnections() {
		return Object.values((await this.count()).workers)[0];
	}

	// A worker is to take no more, and to end with its last connection.
	async drain(pid) {
		await this.ask({ verb: 'tell', what: 'drain', pid });
	}

	async disconnect(pid) {
		await this.ask({ verb: 'tell', what: 'disconnect', pid });
	}

	// No worker runs, and none is started until comeBack().
	async loseWorkers() {
		for (const pid of await this.workers())
			process.kill(pid, 'SIGKILL');
		await until('the workers end', async () => (await this.workers()).length === 0);
	}

	// { address } or { error }.
	listen(worker, name, listen) {
		return this.ask({ verb: 'tell', worker, what: 'listen', name, listen });
	}

	portOf({ address }) {
		return address.port;
	}

	// Something happens while the supervisor is at it.
	async listenSlowly(worker, name, listen, happens) {
		this.listen(worker, name, listen).catch(() => {});
		await this.ask({ verb: 'untilBinding' });
		await happens();
	}

	async closeServer(worker, name) {
		await this.ask({ verb: 'tell', worker, what: 'close', name });
	}

	async comeBack() {
		await this.ask({ verb: 'fork' });
	}

	async untilReplaced(pid, count) {
		await until(`${pid} is replaced`, async () => {
			const pids = await this.workers();

			return pids.length === count && !pids.includes(pid);
		});
	}

	modeOf(socket) {
		return (fs.statSync(socket).mode & 0o777).toString(8);
	}

	// Its workers, too: what they leave is the supervisor's.
	async die() {
		await this.end();
		this.child = undefined;
		this.started = false;
	}

	async end() {
		if (!this.child)
			return;
		this.child.kill('SIGKILL');
		await this.ended;
		await this.seen.kill();
	}
}

module.exports = { NodeSide };
