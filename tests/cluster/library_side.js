'use strict';
// One side of the comparison: cluster_parent.c, a program with the library, with the words of
// node_side.js that cases with servers need.

const { spawn } = require('child_process');
const { PATIENCE_MS } = require('./clients');
const { Remembered, within } = require('./processes');
const { built } = require('./usher_side');

class LibrarySide {
	constructor() {
		this.name = 'libusher';
		this.seen = new Remembered();
		this.waiting = [];
		this.ports = {};
	}

	async start({ workers, servers }) {
		this.stderr = '';
		this.child = spawn(built('tests/cluster/cluster_parent'), [String(workers)]);
		this.supervisor = this.child.pid;
		this.child.stdin.on('error', () => {});
		this.child.stderr.setEncoding('utf8').on('data', (text) => { this.stderr += text; });
		this.ended = new Promise((resolve) => { this.child.once('exit', resolve); });
		let rest = '';

		this.child.stdout.setEncoding('utf8').on('data', (text) => {
			const lines = (rest + text).split('\n');

			rest = lines.pop();
			lines.forEach((line) => this.hear(line.split(' ')));
		});
		for (const { name } of servers) {
			const [, , port] = await this.ask(`listen ${name}`, 'listening');

			this.ports[name] = Number(port);
		}
		await this.workers();
		return [];
	}

	// Each goes to the first question that waits for such an answer.
	hear(words) {
		const index = this.waiting.findIndex(({ kinds }) => kinds.includes(words[0]));

		this.waiting.splice(index, 1)[0].resolve(words);
	}

	ask(line, ...kinds) {
		const answer = new Promise((resolve) => { this.waiting.push({ kinds, resolve }); });

		this.child.stdin.write(`${line}\n`);
		return Promise.race([answer, this.ended.then(() => { throw new Error('the master died'); })]);
	}

	target(name) {
		return { host: '127.0.0.1', port: this.ports[name], patienceMs: PATIENCE_MS };
	}

	async workers() {
		const [, ...pids] = await this.ask('workers', 'workers');

		pids.forEach((pid) => this.seen.add(Number(pid)));
		return pids.map(Number);
	}

	async count(name, ms = PATIENCE_MS) {
		const answer = await within(ms, this.ask(`count ${name}`, 'count', 'error'));

		if (!answer)
			return undefined;
		return answer[0] === 'count' ? { total: Number(answer[2]) }
			: { error: answer.slice(1).join(' ') };
	}

	// Its input ends, and so does it, well; workers end without it.
	async end() {
		if (!this.child)
			return;
		this.child.stdin.end();
		const code = await within(PATIENCE_MS, this.ended);

		this.child.kill('SIGKILL');
		await this.seen.kill();
		if (code !== 0)
			throw new Error(`cluster_parent ended with ${code}: ${this.stderr}`);
	}
}

module.exports = { LibrarySide };
