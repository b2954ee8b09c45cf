'use strict';
// What a user of Node.js would run: a cluster of echo servers. Whoever has forked it tells it what to
// do over the channel of child_process: { id, verb, ... } is answered by { id, ... }.

const cluster = require('cluster');
const net = require('net');

// --- a worker ---------------------------------------------------------------------------------

function echo(socket) {
	socket.on('error', () => socket.destroy());
	socket.pipe(socket);
}

function listen(options) {
	const server = net.createServer(echo);

	if (options.maxConnections)
		server.maxConnections = options.maxConnections;
	server.on('error', (error) => process.send({ error: error.message }));
	server.on('listening', () => process.send({ address: server.address() }));
	server.listen(options.listen);
	return server;
}

function work() {
	const options = JSON.parse(process.env.OPTIONS);
	const servers = [];
	const verbs = {
		count: (ask) => servers[0].getConnections((error, count) =>
			process.send({ counted: ask, count })),
		drain: () => servers.forEach((server) => server.close()),
		disconnect: () => cluster.worker.disconnect(),
		again: () => servers[0].listen(options.listen),
	};

	for (let i = 0; i < (options.times || 1); i++)
		servers.push(listen(options));
	process.on('message', ({ verb, ask }) => verbs[verb](ask));
}

// --- the primary ------------------------------------------------------------------------------

let options;
let expected = 0;
let started;
const errors = [];
const counts = new Map();

const live = () => Object.values(cluster.workers);
const ofPid = (pid) => live().find((worker) => worker.process.pid === pid);

// Adds up what the workers have, as an application must do for itself. One that does not answer
// holds up the sum, and one that dies is left out.
function count(reply) {
	const ask = { id: counts.size, reply, wanted: new Map(), rows: {} };

	counts.set(ask.id, ask);
	for (const worker of live()) {
		ask.wanted.set(worker.id, worker);
		worker.send({ verb: 'count', ask: ask.id });
	}
	lookAt(ask);
}

function lookAt(ask) {
	if (ask.wanted.size > 0)
		return;
	const total = Object.values(ask.rows).reduce((sum, n) => sum + n, 0);

	ask.reply({ total, workers: ask.rows });
}

function onCounted(worker, { counted, count: n }) {
	const ask = counts.get(counted);

	ask.rows[worker.process.pid] = n;
	ask.wanted.delete(worker.id);
	lookAt(ask);
}

function onWorkersWord(worker, word) {
	if (word.counted !== undefined) {
		onCounted(worker, word);
	} else if (started) {
		if (word.error)
			errors.push(word.error);
		else
			options.address = word.address;
		if (--expected === 0) {
			started({ address: options.address, errors: errors.splice(0) });
			started = undefined;
		}
	}
}

const fork = () => cluster.fork({ OPTIONS: JSON.stringify(options) });

// Each server of each worker tells that it listens, or why not.
function waitForServers(n, reply) {
	expected = n;
	started = reply;
}

const verbs = {
	start: (word, reply) => {
		options = word.options;
		cluster.schedulingPolicy =
			options.distribute === 'round-robin' ? cluster.SCHED_RR : cluster.SCHED_NONE;
		waitForServers(options.workers * (options.times || 1), reply);
		for (let i = 0; i < options.workers; i++)
			fork();
	},
	workers: (word, reply) => reply({ pids: live().map((worker) => worker.process.pid) }),
	count: (word, reply) => count(reply),
	tell: (word, reply) => {
		ofPid(word.pid).send({ verb: word.what });
		reply({});
	},
	again: (word, reply) => {
		waitForServers(options.workers, reply);
		live().forEach((worker) => worker.send({ verb: 'again' }));
	},
	fork: (word, reply) => {
		waitForServers(1, reply);
		fork();
	},
};

function supervise() {
	cluster.on('message', onWorkersWord);
	cluster.on('exit', (worker) => {
		for (const ask of counts.values())
			if (ask.wanted.delete(worker.id))
				lookAt(ask);
		if (options.respawn)
			fork();
	});
	process.on('message', (word) => verbs[word.verb](word, (answer) =>
		process.send({ id: word.id, ...answer })));
	process.on('disconnect', () => {
		options.respawn = false;
		live().forEach((worker) => worker.process.kill('SIGKILL'));
		process.exit();
	});
}

if (cluster.isPrimary)
	supervise();
else
	work();
