'use strict';
// The same clients do the same to a cluster of Node.js and to usher, and a table says what became of
// them. It is judged what usher does; what Node.js does is told as it was seen.
//
//   node tests/cluster/compare.js [NAME...]
//
// A case is a file in cases/: { id, what, expected: { node, usher }, run(side) }. run() is
// what the clients do, in the words of node_side.js, usher_side.js and, where the case says library,
// library_side.js, and returns what they saw.

const fs = require('fs');
const os = require('os');
const path = require('path');
const { NodeSide } = require('./node_side');
const { UsherSide } = require('./usher_side');
const { LibrarySide } = require('./library_side');
const { within } = require('./processes');

const DEADLINE_MS = 60000;
const AT_A_TIME = 3;

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'usher-cluster.'));

function place(...words) {
	const name = path.join(folder, words.join('-'));

	fs.mkdirSync(name);
	return name;
}

const running = new Set();
let stopped = false;

async function runOn(side, run) {
	if (stopped)
		return 'not run';
	running.add(side);
	try {
		const seen = await within(DEADLINE_MS, run(side), 'DEADLINE');

		await side.end();
		return seen;
	} catch (error) {
		await side.end().catch(() => {});
		return `ERROR ${error.stack}\n${side.stderr || ''}`;
	} finally {
		running.delete(side);
	}
}

// Whoever ends this ends what it has started.
async function onSignal() {
	stopped = true;
	await Promise.all([...running].map((side) => side.end().catch(() => {})));
	fs.rmSync(folder, { recursive: true });
	process.exit(1);
}

// The sides at the same time: while one waits for what does not happen the other is done.
async function compare({ name, run, library }) {
	const [node, usher, libusher] = await Promise.all([
		runOn(new NodeSide(place(name, 'node')), run),
		runOn(new UsherSide(place(name, 'usher')), run),
		library ? runOn(new LibrarySide(), run) : '',
	]);

	return { node, usher, libusher };
}

// Node's words may differ from time to time: then a regular expression is expected.
function fits(seen, expected) {
	return expected instanceof RegExp ? expected.test(seen) : seen === expected;
}

// Of the daemon and of the library it is wanted the same.
function isAsWanted({ expected, library }, { usher, libusher }) {
	return fits(usher, expected.usher) && (!library || fits(libusher, expected.usher));
}

function verdict(one, seen) {
	if (!isAsWanted(one, seen))
		return 'NOT AS WANTED';
	return seen.node === seen.usher ? 'same' : 'better';
}

function cases() {
	const wanted = process.argv.slice(2);
	const number = ({ id }) => Number(id.replace(/.*-/, ''));
	const kind = ({ id }) => id.replace(/-.*/, '');

	return fs.readdirSync(path.join(__dirname, 'cases'))
		.map((file) => ({ name: path.basename(file, '.js'), ...require(`./cases/${file}`) }))
		.filter(({ name }) => wanted.length === 0 || wanted.includes(name))
		.sort((a, b) => kind(a).localeCompare(kind(b)) || number(a) - number(b));
}

// A few at the same time, for most of their time they wait; in the order of the list.
async function compareAll(list) {
	const results = new Map();
	const left = [...list];

	await Promise.all(Array.from({ length: AT_A_TIME }, async () => {
		for (let one = left.shift(); one; one = left.shift())
			results.set(one, await compare(one));
	}));
	return list.map((one) => [one, results.get(one)]);
}

function printTable(rows) {
	const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));

	for (const row of rows)
		console.log(row.map((cell, i) => cell.padEnd(widths[i])).join('  ').trimEnd());
}

// "ok NAME" and the like, as tests/run.sh counts them.
function tell(one, seen) {
	const { name, expected } = one;

	if (isAsWanted(one, seen))
		console.log(`ok ${name}`);
	else
		console.log(`not ok ${name}: wanted "${expected.usher}", got "${seen.usher}" and "${seen.libusher}"`);
	if (!fits(seen.node, expected.node))
		console.log(`# ${name}: this Node.js does not "${expected.node}", but "${seen.node}"`);
}

async function main() {
	const rows = [['id', 'what', `Node.js ${process.versions.node}`, 'usher', 'libusher', '']];
	const lines = [];
	let failed = 0;

	process.umask(0o022);
	process.on('SIGTERM', onSignal);
	process.on('SIGINT', onSignal);
	for (const [one, seen] of await compareAll(cases())) {
		const short = (text) => text.split('\n')[0];

		failed += !isAsWanted(one, seen);
		rows.push([one.id, one.what, short(seen.node), short(seen.usher), short(seen.libusher), verdict(one, seen)]);
		lines.push(() => tell(one, seen));
	}
	printTable(rows);
	console.log('');
	lines.forEach((line) => line());
	fs.rmSync(folder, { recursive: true });
	process.exit(failed > 0 ? 1 : 0);
}

main();
