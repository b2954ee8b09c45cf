'use strict';
// One side of the comparison: usherd, asked by usherctl, with the words of node_side.js.

const { execFile, spawn } = require('child_process');
const fs = require('fs');
const path = require('path');
const { PATIENCE_MS } = require('./clients');
const { Remembered, go, kill, stop, until, within } = require('./processes');
const { Crew } = require('./usher_crew');

const build = path.resolve(process.env.USHER_BUILD || path.join(__dirname, '..', '..', 'build'));
// A program of the build.
const built = (name) => path.join(build, name);

// The words of net.Server.listen() in those of usher.yaml(5).
function listenerOf(name, options, listen) {
	const words = {
		port: listen.port,
		host: listen.host && JSON.stringify(listen.host),
		path: listen.path,
		fd: listen.fd,
		ipv6_only: listen.ipv6Only,
		mode: listen.readableAll && listen.writableAll ? '"0666"' : undefined,
		max_connections: options.maxConnections && options.maxConnections * options.workers,
		distribute: options.distribute,
		handler: 'echo',
	};
	const pairs = Object.entries(words).filter(([, value]) => value !== undefined);

	return `  - {name: ${name}, ${pairs.map((pair) => pair.join(': ')).join(', ')}}\n`;
}

class UsherSide {
	constructor(place) {
		this.name = 'usher';
		this.place = place;
		this.seen = new Remembered();
	}

	configure(options) {
		const servers = options.servers || Array.from({ length: options.times || 1 },
			(_, i) => ({ name: `it${i || ''}`, ...options.listen }));
		const user = process.getuid() === 0 ? 'user: root\n' : '';

		fs.writeFileSync(path.join(this.place, 'usher.yaml'),
			`control: ${this.place}/control.sock\n${user}` +
			`workers: ${options.workers}\n` +
			`drain_timeout: ${options.drainTimeout || '2s'}\nstop_timeout: 1s\nlisteners:\n` +
			servers.map(({ name, ...listen }) => listenerOf(name, options, listen)).join(''));
	}

	async start(options) {
		this.configure(options);
		this.stderr = '';
		this.code = undefined;
		this.child = spawn(built('usherd'),
			['-c', path.join(this.place, 'usher.yaml'), ...(options.args || [])],
			{ stdio: ['ignore', 'ignore', 'pipe', options.fd ?? 'ignore'], env: this.environment });
		this.supervisor = this.child.pid;
		this.child.stderr.setEncoding('utf8').on('data', (text) => { this.stderr += text; });
		this.ended = new Promise((resolve) => { this.child.once('exit', resolve); });
		this.child.once('exit', (code) => { this.code = code; });
		const said = new Promise((resolve) => { this.child.once('close', resolve); });

		await until('usherd is ready, or ends', async () => this.code !== undefined ||
			(await this.workers()).length === options.workers);
		if (this.code !== undefined) {
			await said;
			return this.stderr.trim().split('\n');
		}

		const { listeners } = await this.ctl('status');

		this.addresses = Object.fromEntries(listeners.map(({ name, address }) => [name, address]));
		return [];
	}

	async startCrew(options) {
		this.crew = new Crew(path.join(this.place, 'crew'));
		await this.crew.open();
		this.environment = { ...process.env, CREW: this.crew.path };
		await this.start({ ...options, listen: { path: path.join(this.place, 'ours') },
			args: ['--worker', built('tests/helpers/fake_listener')] });
	}

	listen(worker, name, listen) {
		return this.crew.listen(worker, name, listen);
	}

	portOf({ address }) {
		return Number(address.replace(/.*:/, ''));
	}

	// The supervisor gets to it when it goes on.
	async listenSlowly(worker, name, listen, happens) {
		await stop(this.supervisor);
		await this.crew.askToListen(worker, name, listen);
		await happens();
		go(this.supervisor);
	}

	async closeServer(worker, name) {
		await this.crew.close(worker, name);
	}

	target(name = 'it') {
		const address = this.addresses[name];

		const where = address.startsWith('/') ? { path: address }
			: { host: '127.0.0.1', port: Number(address.replace(/.*:/, '')) };

		return { ...where, patienceMs: PATIENCE_MS };
	}

	// The answer, or undefined when there is none.
	ctl(...words) {
		return new Promise((resolve) => {
			execFile(built('usherctl'),
				['-s', path.join(this.place, 'control.sock'), '--json', ...words],
				(error, out) => resolve(error ? undefined : JSON.parse(out)));
		});
	}

	async rows(state) {
		const status = await this.ctl('status');
		const rows = status ? status.workers : [];

		rows.forEach(({ pid }) => pid && this.seen.add(pid));
		return rows.filter((row) => row.state === state);
	}

	async workers() {
		return (await this.rows('ready')).map((row) => row.pid);
	}

	async count(name, ms = PATIENCE_MS) {
		const answer = await within(ms, this.ctl('connections', ...(name ? [name] : [])));
		const rows = answer && answer.workers.map(({ pid, connections }) => [pid, connections]);

		return answer && { total: answer.connections, workers: Object.fromEntries(rows) };
	}

	async getConnections() {
		return (await this.count()).total;
	}

	async drain(pid) {
		process.kill(pid, 'SIGTERM');
	}

	disconnect(pid) {
		return this.drain(pid);
	}

	// The only slot backs off for longer each time its worker dies soon: at last for a second.
	async loseWorkers() {
		await until('the slot backs off', async () => {
			const pids = await this.workers();

			await Promise.all(pids.map((pid) => kill(pid)));
			return (await this.rows('backing-off')).some((row) => row.restarts >= 3);
		});
	}

	async comeBack() {
		await until('a worker is ready', async () => (await this.workers()).length === 1);
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

	async die() {
		this.child.kill('SIGKILL');
		await this.ended;
		await this.seen.kill();
	}

	// Asked nicely, it must end well; its workers end before it.
	async end() {
		this.crew?.end();
		if (this.mayDie)
			await this.ended;
		if (!this.child || this.code !== undefined)
			return this.seen.kill();
		[this.supervisor, ...this.seen.left()].forEach(go);
		this.child.kill('SIGTERM');
		await within(PATIENCE_MS, this.ended);
		await this.seen.kill();
		if (this.code !== 0)
			throw new Error(`usherd ended with ${this.code}; it logged:\n${this.stderr}`);
	}
}

module.exports = { UsherSide, built };
