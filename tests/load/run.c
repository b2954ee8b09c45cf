#include "tests/load/run.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/macros.h"
#include "common/net/addr.h"
#include "tests/load/client.h"
#include "tests/load/clock.h"
#include "tests/load/procfs.h"
#include "tests/load/progress.h"
#include "tests/load/residence.h"

#define BEGIN_SECONDS 10.0
#define OPEN_SECONDS  60.0
#define END_SECONDS   60.0

/* Between two looks at a target that does not listen yet. */
#define PROBE_NS 10000000

/* From here on our own process is what limits a closed loop. */
#define BOTTLENECK_SHARE  0.9
/* A paced load is late by this only when we get no processor. */
#define BOTTLENECK_LAG_NS 1000000
#define DISTURBED_SHARE   0.25

/* Mixed load has one process more, which churns. */
#define PROCESSES_MAX (LOAD_PROCESSES_MAX + 1)

struct process {
	pid_t pid;
	int fd; /* -1: none */
};

struct run {
	const struct load_options *options;
	struct tally *tallies; /* shared */
	struct process processes[PROCESSES_MAX];
	size_t count;

	struct pid_set servers, upstreams, ours;
	cpu_set_t cpus;
	/* In the measured time so far, and when it began. */
	struct proc_usage server_used, upstream_used, own_used;
	struct machine_usage machine;
	uint64_t began_ns;
	uint64_t sockets[RUN_SPREAD_MAX]; /* of each server process, before the load */
};

/* --- before it ------------------------------------------------------------------------------ */

static int try_connect(const struct load_options *o)
{
	AUTO_CLOSE int fd = -1;
	struct addr addr;
	int r = o->path ? addr_unix(o->path, &addr) : addr_parse(o->host, o->port, &addr);

	if (r < 0)
		return r;
	fd = socket(addr.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1 || connect(fd, &addr.sa, addr.len) == -1)
		return -errno;
	return 0;
}

static int wait_for_target(const struct load_options *o)
{
	const struct timespec pause = {.tv_nsec = PROBE_NS};
	uint64_t deadline = clock_ns() + (uint64_t)(o->wait * (double)NS_OF_A_SECOND);
	int r;

	if (o->wait <= 0)
		return 0;
	while ((r = try_connect(o)) < 0 && clock_ns() < deadline)
		ppoll(NULL, 0, &pause, NULL);
	return r;
}

static int add_trees(struct pid_set *set, const pid_t *pids, int count)
{
	for (int i = 0; i < count; i++) {
		int r = procfs_add_tree(set, pids[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

static int find_servers(struct run *run)
{
	const struct load_options *o = run->options;
	int r = add_trees(&run->servers, o->server_pids, o->n_server_pids);

	return r < 0 ? r : add_trees(&run->upstreams, o->upstream_pids, o->n_upstream_pids);
}

/* --- processes ------------------------------------------------------------------------------ */

static const struct work *work_of(enum load_mode mode)
{
	if (mode == LOAD_CHURN)
		return &work_churn;
	return mode == LOAD_STREAM ? &work_stream : &work_exchange;
}

static double share_of(double whole, uint64_t part, uint64_t all)
{
	return whole * (double)part / (double)all;
}

/* The share of process index: connections and rate are divided, the rest is the same. */
static struct client client_of(const struct run *run, size_t index)
{
	const struct load_options *o = run->options;
	struct client c = {.options = o, .tally = &run->tallies[index], .work = work_of(o->mode)};

	if (index == o->processes) {
		c.work = &work_churn;
		c.lane = LANE_CHURN;
		c.connections = o->connections;
		c.rate = (double)o->churn_rate;
	} else {
		c.first = o->connections * index / o->processes;
		c.connections = o->connections * (index + 1) / o->processes - c.first;
		c.rate = share_of((double)o->rate, c.connections, o->connections);
		c.open_rate = share_of((double)o->open_rate, c.connections, o->connections);
	}
	c.paced = c.rate > 0;
	return c;
}

__attribute__((noreturn)) static void be_client(struct run *run, size_t index, int fd, pid_t parent)
{
	struct client c = client_of(run, index);
	char byte = CLIENT_READY;
	int r;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	for (size_t i = 0; i < index; i++)
		close(run->processes[i].fd);
	signal(SIGPIPE, SIG_IGN);
	residence_take();
	if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1 || recv(fd, &byte, 1, 0) != 1 ||
	    byte != CLIENT_OPEN)
		_exit(1);
	r = client_run(&c, fd);
	if (r < 0)
		fprintf(stderr, "usher-load: %s\n", net_error_message(r));
	_exit(r < 0 ? 1 : 0);
}

static int start_process(struct run *run)
{
	struct process *p = &run->processes[run->count];
	pid_t parent = getpid();
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1)
		return -errno;
	p->pid = fork();
	if (p->pid == 0) {
		close(pair[0]);
		be_client(run, run->count, pair[1], parent);
	}
	close_fd(pair[1]);
	if (p->pid == -1) {
		close_fd(pair[0]);
		return -errno;
	}
	p->fd = pair[0];
	run->count++;
	return 0;
}

static int start_processes(struct run *run)
{
	size_t count = run->options->processes + (run->options->mode == LOAD_MIXED);

	run->tallies = mmap(NULL, count * sizeof(*run->tallies), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (run->tallies == MAP_FAILED)
		return -errno;
	while (run->count < count) {
		int r = start_process(run);

		if (r < 0)
			return r;
	}
	return procfs_add_tree(&run->ours, getpid());
}

static int command(struct run *run, char byte)
{
	for (size_t i = 0; i < run->count; i++) {
		if (send(run->processes[i].fd, &byte, 1, MSG_NOSIGNAL) == -1)
			return -errno;
	}
	return 0;
}

/* Until one of them speaks or the time is over; 1, 0, or -ECHILD when one is gone. */
static int watch(struct run *run, uint64_t until_ns, size_t *ready)
{
	struct pollfd entries[PROCESSES_MAX];
	uint64_t now = clock_ns(), next = progress_next_ns(until_ns);
	struct timespec wait = {0};
	int n;

	for (size_t i = 0; i < run->count; i++)
		entries[i] = (struct pollfd){.fd = run->processes[i].fd, .events = POLLIN};
	if (next > now)
		wait = (struct timespec){.tv_sec = (time_t)((next - now) / NS_OF_A_SECOND),
					 .tv_nsec = (long)((next - now) % NS_OF_A_SECOND)};
	n = ppoll(entries, run->count, &wait, NULL);
	progress_show(run->tallies, run->count);

	for (size_t i = 0; n > 0 && i < run->count; i++) {
		char byte;

		if (!entries[i].revents)
			continue;
		if (recv(entries[i].fd, &byte, 1, MSG_DONTWAIT) != 1 || byte != CLIENT_READY)
			return -ECHILD;
		(*ready)++;
	}
	return clock_ns() < until_ns;
}

static int hold(struct run *run, double seconds)
{
	uint64_t until = clock_ns() + (uint64_t)(seconds * (double)NS_OF_A_SECOND);
	size_t ready = 0;
	int r;

	while ((r = watch(run, until, &ready)) > 0)
		;
	return r;
}

/* Until each process has said once that it is ready. */
static int wait_until_ready(struct run *run, double seconds)
{
	uint64_t until = clock_ns() + (uint64_t)(seconds * (double)NS_OF_A_SECOND);
	size_t ready = 0;
	int r = 1;

	while (ready < run->count && r > 0)
		r = watch(run, until, &ready);
	if (r < 0 || ready == run->count)
		return r < 0 ? r : 0;
	return -ETIMEDOUT;
}

static int wait_until_open(struct run *run)
{
	const struct load_options *o = run->options;
	double seconds = o->open_rate > 0
				 ? OPEN_SECONDS + (double)o->connections / (double)o->open_rate
				 : OPEN_SECONDS;

	return wait_until_ready(run, seconds);
}

/* Those that do not end by themselves in time are killed. Their tallies stay. */
static int end_processes(struct run *run)
{
	uint64_t until = clock_ns() + (uint64_t)(END_SECONDS * (double)NS_OF_A_SECOND);
	int r = 0;

	for (size_t i = 0; i < run->count; i++) {
		struct process *p = &run->processes[i];
		struct pollfd entry = {.fd = p->fd, .events = POLLIN};
		uint64_t now = clock_ns();
		int status;

		if (poll(&entry, 1, now < until ? (int)((until - now) / 1000000) : 0) != 1)
			kill(p->pid, SIGKILL);
		close_fd(take_fd(&p->fd));
		if (waitpid(p->pid, &status, 0) == -1 || status != 0)
			r = -ECHILD;
	}
	run->count = 0;
	return r;
}

/* --- looks at the machine ------------------------------------------------------------------- */

/* Children of the server that have appeared since the last look are the server, too. */
static int find_new(struct run *run)
{
	int r = procfs_add_descendants(&run->servers);

	return r < 0 ? r : procfs_add_descendants(&run->upstreams);
}

static void add_used(struct pid_set *set, struct proc_usage *used)
{
	struct proc_usage more = procfs_used(set);

	used->cpu_ns += more.cpu_ns;
	used->switches += more.switches;
}

/* Adds what was used since the last look. */
static int look(struct run *run)
{
	int r = find_new(run);

	if (r < 0)
		return r;
	add_used(&run->servers, &run->server_used);
	add_used(&run->upstreams, &run->upstream_used);
	add_used(&run->ours, &run->own_used);
	return 0;
}

static int begin_measuring(struct run *run)
{
	const struct proc_usage none = {0};
	int r = look(run);

	if (r < 0)
		return r;
	run->server_used = run->upstream_used = run->own_used = none;
	run->began_ns = clock_ns();
	return procfs_machine(&run->cpus, &run->machine);
}

static uint64_t above(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static void count_sockets(struct run *run)
{
	for (size_t i = 0; i < run->servers.count && i < RUN_SPREAD_MAX; i++)
		run->sockets[i] = procfs_sockets(run->servers.pids[i]);
}

static int most_first(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x < y) - (x > y);
}

static void find_spread(struct run *run, struct run_result *ret)
{
	size_t i;

	for (i = 0; i < ret->server_processes && i < RUN_SPREAD_MAX; i++)
		ret->spread[i] = above(procfs_sockets(run->servers.pids[i]), run->sockets[i]);
	ret->spread_count = i;
	qsort(ret->spread, i, sizeof(*ret->spread), most_first);
}

static double share(uint64_t part_ns, uint64_t whole_ns)
{
	return whole_ns > 0 ? (double)part_ns / (double)whole_ns : 0;
}

static int compare(struct run *run, struct run_result *ret)
{
	struct machine_usage machine;
	uint64_t wall, server_ns, own_ns;
	int r = look(run);

	if (r == 0)
		r = procfs_machine(&run->cpus, &machine);
	if (r < 0)
		return r;
	wall = clock_ns() - run->began_ns;
	server_ns = run->server_used.cpu_ns;
	own_ns = run->own_used.cpu_ns;
	ret->server_cpu_seconds = (double)server_ns / (double)NS_OF_A_SECOND;
	ret->own_cpu_seconds = (double)own_ns / (double)NS_OF_A_SECOND;
	ret->server_switches = run->server_used.switches;
	ret->foreign_share = share(above(machine.busy_ns - run->machine.busy_ns,
					 server_ns + run->upstream_used.cpu_ns + own_ns),
				   wall);
	ret->steal_share = share(machine.steal_ns - run->machine.steal_ns, wall);
	return 0;
}

static void judge(const struct run *run, struct run_result *ret)
{
	const struct tally *t = &ret->tally;

	ret->cpus = (size_t)CPU_COUNT(&run->cpus);
	ret->seconds = (double)t->wall_ns / (double)NS_OF_A_SECOND;
	ret->own_share = share(t->cpu_ns, t->wall_ns);
	/* On one processor the server's part and ours make it full, whoever is slower. */
	ret->bottleneck = (ret->own_share >= BOTTLENECK_SHARE && ret->cpus > 1) ||
			  histogram_percentile(&t->lag, 0.99) > BOTTLENECK_LAG_NS;
	/* Without the server's share nobody can tell who else was there. */
	ret->disturbed = run->servers.count > 0 &&
			 ret->foreign_share + ret->steal_share > DISTURBED_SHARE;
}

/* --- a command in the middle of it ---------------------------------------------------------- */

static int start_midway(const char *command, pid_t *ret)
{
	char *const argv[] = {(char *)"sh", (char *)"-c", (char *)command, NULL};

	return command ? -posix_spawn(ret, "/bin/sh", NULL, NULL, argv, environ) : 0;
}

/* It has had half of the measured time; what still runs then is killed. */
static int end_midway(pid_t pid)
{
	int status;

	if (pid <= 0)
		return -1;
	if (waitpid(pid, &status, WNOHANG) == 0) {
		kill(pid, SIGKILL);
		if (waitpid(pid, &status, 0) == -1)
			return -1;
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int hold_measured_time(struct run *run, struct run_result *ret)
{
	const struct load_options *o = run->options;
	pid_t midway = 0;
	int r = hold(run, o->duration / 2);

	/* What it kills has been seen until then. */
	if (r == 0 && o->midway)
		r = look(run);
	if (r == 0)
		r = start_midway(o->midway, &midway);
	if (r == 0)
		r = hold(run, o->duration / 2);
	ret->midway_status = end_midway(midway);
	return r;
}

/* --- the run -------------------------------------------------------------------------------- */

/* All connects have failed: there is nothing to measure. */
static bool all_failed(const struct run *run)
{
	uint64_t connected = 0, failed = 0;

	for (size_t i = 0; i < run->count; i++) {
		connected += run->tallies[i].connected;
		failed += run->tallies[i].failures[FAILED_CONNECT];
	}
	return connected == 0 && failed > 0;
}

static int measure(struct run *run, struct run_result *ret)
{
	const struct load_options *o = run->options;
	uint64_t began = clock_ns();
	int r = command(run, CLIENT_OPEN);

	if (r == 0)
		r = wait_until_open(run);
	if (r == 0 && all_failed(run))
		r = -ENOTCONN;
	if (r < 0)
		return r;
	ret->open_seconds = (double)(clock_ns() - began) / (double)NS_OF_A_SECOND;

	procfs_add_cpus(&run->servers, &run->cpus);
	procfs_add_cpus(&run->ours, &run->cpus);
	r = command(run, CLIENT_START);
	if (r == 0)
		r = hold(run, o->warmup);
	if (r == 0)
		r = begin_measuring(run);
	if (r == 0)
		r = hold_measured_time(run, ret);
	if (r == 0)
		r = compare(run, ret);
	if (r < 0)
		return r;
	ret->pss_open = procfs_pss(&run->servers);
	find_spread(run, ret);
	return command(run, CLIENT_END);
}

static int run_all(struct run *run, struct run_result *ret)
{
	int r = wait_for_target(run->options), ended;

	if (r < 0)
		return r;
	r = find_servers(run);
	if (r < 0)
		return r;
	ret->server_processes = run->servers.count;
	count_sockets(run);
	residence_take();
	r = start_processes(run);
	ret->clients = run->count;
	if (r == 0)
		r = wait_until_ready(run, BEGIN_SECONDS);
	/* With our processes there: they share libraries with the server, which lowers its PSS. */
	ret->pss_before = procfs_pss(&run->servers);
	if (r == 0)
		r = measure(run, ret);

	/* Without a command to end, the end of the pair is one. */
	for (size_t i = 0; r < 0 && i < run->count; i++)
		shutdown(run->processes[i].fd, SHUT_RDWR);
	progress_end();
	ended = end_processes(run);
	for (size_t i = 0; i < ret->clients; i++)
		tally_merge(&ret->tally, &run->tallies[i]);
	return r < 0 ? r : ended;
}

int run_load(const struct load_options *options, struct run_result *ret)
{
	struct run *run = calloc(1, sizeof(*run));
	int r;

	if (!run)
		return -ENOMEM;
	run->options = options;
	memset(ret, 0, sizeof(*ret));
	ret->midway_status = -1;
	progress_begin(options);
	r = run_all(run, ret);
	judge(run, ret);
	free(run);
	return r;
}
