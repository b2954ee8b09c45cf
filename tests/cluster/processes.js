'use strict';
// Processes as the kernel sees them, and waiting for what no event tells of.

const fs = require('fs');

const LOOK_EVERY_MS = 10;
const WAIT_MS = 20000;

// The state as in proc(5), and the processor time in milliseconds; undefined when it has gone.
function look(pid) {
	let text;

	try {
		text = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
	} catch {
		return undefined;
	}
	const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');

	return {
		state: fields[0],
		cpuMs: (Number(fields[11]) + Number(fields[12])) * 10,
		since: fields[19],
	};
}

// Processes that are to be gone in the end. A number may by then be that of another one.
class Remembered {
	constructor() {
		this.since = new Map();
	}

	add(pid) {
		if (!this.since.has(pid))
			this.since.set(pid, look(pid)?.since);
	}

	left() {
		return [...this.since].filter(([pid, since]) => since && look(pid)?.since === since)
			.map(([pid]) => pid);
	}

	async kill() {
		for (const pid of this.left())
			await kill(pid);
	}
}

async function until(what, isThere) {
	const deadline = Date.now() + WAIT_MS;

	for (;;) {
		const found = await isThere();

		if (found)
			return found;
		if (Date.now() > deadline)
			throw new Error(`waited in vain: ${what}`);
		await new Promise((resolve) => { setTimeout(resolve, LOOK_EVERY_MS); });
	}
}

async function stop(pid) {
	process.kill(pid, 'SIGSTOP');
	await until(`${pid} stops`, () => look(pid).state === 'T');
}

function go(pid) {
	process.kill(pid, 'SIGCONT');
}

function hasGone(pid) {
	const now = look(pid);

	return !now || now.state === 'Z';
}

async function kill(pid) {
	try {
		process.kill(pid, 'SIGKILL');
	} catch (error) {
		if (error.code !== 'ESRCH')
			throw error;
	}
	await until(`${pid} ends`, () => hasGone(pid));
}

// What the promise comes to, or the word if it takes longer.
async function within(ms, promise, word) {
	let timer;
	const late = new Promise((resolve) => { timer = setTimeout(resolve, ms, word); });

	try {
		return await Promise.race([promise, late]);
	} finally {
		clearTimeout(timer);
	}
}

// Whether a process has nothing to do: it uses the processor for less than a tenth of so long, and is
// not woken a hundred times a second. A machine that is short of processors hides the former alone.
async function sleeps(pid, ms) {
	const wakes = () => Number(fs.readFileSync(`/proc/${pid}/status`, 'utf8')
		.match(/^voluntary_ctxt_switches:\s*(\d+)/m)[1]);
	const before = { cpuMs: look(pid).cpuMs, wakes: wakes() };

	await new Promise((resolve) => { setTimeout(resolve, ms); });
	return look(pid).cpuMs - before.cpuMs < ms / 10 && wakes() - before.wakes < ms / 10;
}

module.exports = { Remembered, go, hasGone, kill, look, sleeps, stop, until, within };
