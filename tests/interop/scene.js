'use strict';
// What the conversations between Node.js and tests/interop/peer.c have in common: tests with a
// deadline, the peer program and what it says, promises for events, data with a known hash.

const assert = require('assert');
const { spawn } = require('child_process');
const crypto = require('crypto');
const { once: event } = require('events');
const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');

const DEADLINE_MS = 60000;

const build = process.env.USHER_BUILD || path.join(__dirname, '..', '..', 'build');
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'usher-interop.'));
const tests = [];

function test(name, body) {
	tests.push({ name, body });
}

// The peer program. Its words are kept in lines; line(word) waits for one that begins so.
class Peer {
	constructor(role, where, action, argument) {
		const args = [role, String(where), action];

		if (argument !== undefined)
			args.push(argument);
		this.lines = [];
		this.waiting = [];
		this.child = spawn(path.join(build, 'tests', 'interop', 'peer'), args,
			{ stdio: ['pipe', 'pipe', 'inherit'] });
		this.child.stdin.on('error', () => {});
		this.ended = new Promise((resolve) => {
			this.child.once('close', (code, signal) => {
				this.code = signal || code;
				this.look();
				resolve(this.code);
			});
		});
		let rest = '';
		this.child.stdout.setEncoding('utf8').on('data', (text) => {
			const parts = (rest + text).split('\n');

			rest = parts.pop();
			this.lines.push(...parts);
			this.look();
		});
	}

	look() {
		this.waiting = this.waiting.filter(({ word, resolve, reject }) => {
			const found = this.lines.find((line) => line.split(' ')[0] === word);

			if (found !== undefined)
				resolve(found.split(' ').slice(1));
			else if (this.code !== undefined)
				reject(new Error(`the peer ended with ${this.code} before "${word}"`));
			return found === undefined && this.code === undefined;
		});
	}

	// The values behind the word.
	line(word) {
		return new Promise((resolve, reject) => {
			this.waiting.push({ word, resolve, reject });
			this.look();
		});
	}

	tell(command) {
		this.child.stdin.write(command + '\n');
	}

	// The words that are events of a socket, in their order.
	events() {
		const words = ['connect', 'drain', 'finish', 'end', 'error', 'close'];

		return this.lines.map((line) => line.split(' ')[0]).filter((word) => words.includes(word));
	}

	async succeeds() {
		assert.strictEqual(await this.ended, 0, 'exit status of the peer');
	}
}

// A server of the library and a connection to it; where is undefined for TCP, or a path.
async function callPeer(action, argument, options, where) {
	const peer = new Peer('server', where || 0, action, argument);
	const [port] = await peer.line('listening');
	const target = where ? { path: where } : { port: Number(port), host: '127.0.0.1' };
	const socket = net.connect({ ...target, ...options });

	await event(socket, 'connect');
	return { peer, socket };
}

// A server of Node.js and a client of the library that has connected to it.
async function awaitPeer(action, argument, options, where) {
	const server = net.createServer(options || {});

	server.listen(where ? { path: where } : { port: 0, host: '127.0.0.1' });
	await event(server, 'listening');
	const peer = new Peer('client', where || server.address().port, action, argument);
	const [socket] = await event(server, 'connection');

	server.close();
	return { peer, socket };
}

// The error that a socket closes with, if any.
async function errorAtClose(socket) {
	let found;

	socket.on('error', (error) => { found = error; });
	await new Promise((resolve) => { socket.once('close', resolve); });
	return found;
}

const hash = () => crypto.createHash('sha256');

// Everything up to the end, as { size, hash } or as text.
async function receive(socket) {
	const sum = hash();
	let size = 0;

	socket.on('data', (data) => {
		size += data.length;
		sum.update(data);
	});
	if (!socket.readableEnded)
		await event(socket, 'end');
	return { size, hash: sum.digest('hex') };
}

async function receiveText(socket) {
	let text = '';

	socket.setEncoding('utf8').on('data', (data) => { text += data; });
	await event(socket, 'end');
	return text;
}

function hashOfFile(name) {
	return hash().update(fs.readFileSync(name)).digest('hex');
}

function place(name) {
	return path.join(folder, name);
}

function randomFile(name, size) {
	const file = place(name);

	fs.writeFileSync(file, crypto.randomBytes(size));
	return file;
}

async function within(promise) {
	let timer;
	const late = new Promise((resolve, reject) => {
		timer = setTimeout(() => reject(new Error('deadline')), DEADLINE_MS);
	});

	try {
		return await Promise.race([promise, late]);
	} finally {
		clearTimeout(timer);
	}
}

async function run() {
	const wanted = process.argv.slice(2);
	let failed = 0;

	for (const { name, body } of tests) {
		if (wanted.length > 0 && !wanted.includes(name))
			continue;
		try {
			await within(body());
			console.log(`ok ${name}`);
		} catch (error) {
			failed++;
			console.log(`not ok ${name}: ${String(error.stack).replace(/\n/g, '\n    ')}`);
		}
	}
	fs.rmSync(folder, { recursive: true });
	process.exit(failed > 0 ? 1 : 0);
}

module.exports = { awaitPeer, callPeer, errorAtClose, event, hash, hashOfFile, place, randomFile,
	receive, receiveText, run, test };
