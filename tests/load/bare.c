#include "tests/load/bare.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/macros.h"
#include "common/number.h"

#define WORKERS_MAX     64
#define BACKLOG         511
#define ACCEPTS_MAX     64 /* for each wake-up */
#define EVENTS_MAX      256
#define SECONDS_MAX     86400
#define DEFAULT_SECONDS 600

enum accept_mode {
	SHARED,      /* one listener, EPOLLEXCLUSIVE */
	SHARED_EVEN, /* the same, and to the end of the queue after each accept */
	REUSE_PORT,  /* a listener for each worker */
	PASS,        /* the master accepts, and passes connections in turn by SCM_RIGHTS */
	ACCEPT_MODES,
};

static const char *const mode_names[ACCEPT_MODES] = {
	[SHARED] = "shared",
	[SHARED_EVEN] = "shared-even",
	[REUSE_PORT] = "reuse-port",
	[PASS] = "pass",
};

static enum accept_mode mode = SHARED;
static uint64_t n_workers = 2, seconds = DEFAULT_SECONDS, port;
static const char *host = "127.0.0.1", *path;

static int listeners[WORKERS_MAX]; /* all the same one unless the mode is REUSE_PORT */
static int channels[WORKERS_MAX];  /* the master's ends */
static pid_t pids[WORKERS_MAX];
static int started[2];                 /* a pipe: a byte from each worker that is there */
static struct bare_counts *all_counts; /* shared memory: what a killed worker counted stays */

struct bare_counts *bare_counts;
char bare_buffer[BARE_BUFFER_SIZE];
static int epoll_fd = -1;

int bare_watch(int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

void bare_change(int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};

	epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
}

/* --- listeners ------------------------------------------------------------------------------ */

static socklen_t address_of(struct sockaddr_storage *ret)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
	struct sockaddr_un *un = (struct sockaddr_un *)ret;

	memset(ret, 0, sizeof(*ret));
	if (path) {
		if (strlen(path) >= sizeof(un->sun_path))
			errx(EX_USAGE, "the path is too long: %s", path);
		un->sun_family = AF_UNIX;
		memcpy(un->sun_path, path, strlen(path));
		return sizeof(*un);
	}
	if (inet_pton(AF_INET, host, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)port);
		return sizeof(*in);
	}
	if (inet_pton(AF_INET6, host, &in6->sin6_addr) != 1)
		errx(EX_USAGE, "not an address: %s", host);
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons((uint16_t)port);
	return sizeof(*in6);
}

static int open_listener(void)
{
	struct sockaddr_storage address;
	socklen_t length = address_of(&address);
	int on = 1;
	int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd == -1)
		err(EX_OSERR, "socket");
	if (path)
		unlink(path);
	else
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (mode == REUSE_PORT && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == -1)
		err(EX_OSERR, "SO_REUSEPORT");
	if (bind(fd, (struct sockaddr *)&address, length) == -1 || listen(fd, BACKLOG) == -1)
		err(EX_UNAVAILABLE, "listen on %s", path ? path : host);

	/* The others of a group need the port that the first one got. */
	if (!path && getsockname(fd, (struct sockaddr *)&address, &length) == 0)
		port = ntohs(((struct sockaddr_in *)&address)->sin_port);
	return fd;
}

static void open_listeners(void)
{
	if (mode == REUSE_PORT && path)
		errx(EX_USAGE, "a Unix path cannot be shared by reuse-port");
	for (uint64_t i = 0; i < n_workers; i++)
		listeners[i] = i == 0 || mode == REUSE_PORT ? open_listener() : listeners[0];
}

/* --- a worker ------------------------------------------------------------------------------- */

static void take(const struct bare_program *program, int fd)
{
	bare_counts->connections++;
	program->accepted(fd);
}

static void enter_queue(int listener)
{
	if (bare_watch(listener, EPOLLIN | EPOLLEXCLUSIVE) == -1)
		err(EX_OSERR, "epoll_ctl");
}

static void accept_some(const struct bare_program *program, int listener)
{
	for (int i = 0; i < ACCEPTS_MAX; i++) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd == -1)
			break;
		take(program, fd);
	}
	/* Who stays at the head of the queue is woken for every connection. */
	if (mode == SHARED_EVEN) {
		epoll_ctl(epoll_fd, EPOLL_CTL_DEL, listener, NULL);
		enter_queue(listener);
	}
}

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int) * ACCEPTS_MAX)];
};

static void receive_some(const struct bare_program *program, int channel)
{
	for (;;) {
		char byte;
		union control control;
		struct iovec part = {.iov_base = &byte, .iov_len = 1};
		struct msghdr message = {.msg_iov = &part,
					 .msg_iovlen = 1,
					 .msg_control = &control,
					 .msg_controllen = sizeof(control)};
		ssize_t n = recvmsg(channel, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
		struct cmsghdr *header = n == 1 ? CMSG_FIRSTHDR(&message) : NULL;

		if (!header)
			return;
		for (size_t i = 0; i < (header->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
			take(program, fd);
		}
	}
}

static void run_worker(const struct bare_program *program, int source)
{
	struct epoll_event events[EVENTS_MAX];

	for (;;) {
		int n = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.fd != source)
				program->event(events[i].data.fd, events[i].events);
			else if (mode == PASS)
				receive_some(program, source);
			else
				accept_some(program, source);
		}
	}
}

static size_t descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
		err(EX_OSERR, "getrlimit");
	limit.rlim_cur = limit.rlim_max < (1 << 20) ? limit.rlim_max : 1 << 20;
	if (setrlimit(RLIMIT_NOFILE, &limit) == -1)
		err(EX_OSERR, "setrlimit");
	return limit.rlim_cur;
}

static void start_worker(const struct bare_program *program, size_t index)
{
	pid_t master = getpid();
	int pair[2] = {-1, -1};

	if (mode == PASS && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1)
		err(EX_OSERR, "socketpair");
	channels[index] = pair[0];

	pids[index] = fork();
	if (pids[index] == -1)
		err(EX_OSERR, "fork");
	if (pids[index] > 0) {
		close_fd(pair[1]);
		return;
	}

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != master)
		_exit(EX_OSERR);
	for (size_t i = 0; mode == PASS && i <= index; i++)
		close(channels[i]);
	bare_counts = &all_counts[index];
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd == -1 || program->start(descriptor_limit()) < 0)
		err(EX_OSERR, "cannot start a worker");
	if (mode == PASS && bare_watch(pair[1], EPOLLIN) == -1)
		err(EX_OSERR, "epoll_ctl");
	if (mode != PASS)
		enter_queue(listeners[index]);
	if (write(started[1], "", 1) != 1)
		err(EX_OSERR, "write");
	run_worker(program, mode == PASS ? pair[1] : listeners[index]);
	_exit(0);
}

/* --- the master ----------------------------------------------------------------------------- */

static void wait_for_workers(void)
{
	char byte;

	close(started[1]);
	for (uint64_t i = 0; i < n_workers; i++) {
		if (read(started[0], &byte, 1) != 1)
			errx(EX_SOFTWARE, "a worker has died");
	}
	close(started[0]);
}

/* One message for each worker that gets any. It blocks while a worker is behind. */
static void pass_to(size_t worker, const int *fds, size_t count)
{
	union control control = {.bytes = ""};
	char byte = 0;
	struct iovec part = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = CMSG_SPACE(sizeof(int) * count)};

	if (count == 0)
		return;
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(int) * count);
	memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * count);
	if (sendmsg(channels[worker], &message, MSG_NOSIGNAL) == -1)
		err(EX_OSERR, "sendmsg");
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

static void accept_and_pass(void)
{
	static size_t turn;
	int fds[WORKERS_MAX][ACCEPTS_MAX];
	size_t counts[WORKERS_MAX] = {0};

	for (int i = 0; i < ACCEPTS_MAX; i++) {
		int fd = accept4(listeners[0], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd == -1)
			break;
		fds[turn][counts[turn]++] = fd;
		turn = (turn + 1) % n_workers;
	}
	for (size_t i = 0; i < n_workers; i++)
		pass_to(i, fds[i], counts[i]);
}

static void run_master(int signals)
{
	struct epoll_event event;

	for (;;) {
		if (epoll_wait(epoll_fd, &event, 1, -1) < 1)
			continue;
		if (event.data.fd == signals)
			return;
		accept_and_pass();
	}
}

static void end_workers(void)
{
	for (size_t i = 0; i < n_workers; i++)
		kill(pids[i], SIGKILL);
	for (size_t i = 0; i < n_workers; i++)
		waitpid(pids[i], NULL, 0);
	if (path)
		unlink(path);
}

static void print_counts(void)
{
	printf("{\"workers\":[");
	for (size_t i = 0; i < n_workers; i++)
		printf("%s{\"connections\":%llu,\"reads\":%llu,\"bytes\":%llu}", i ? "," : "",
		       (unsigned long long)all_counts[i].connections,
		       (unsigned long long)all_counts[i].reads,
		       (unsigned long long)all_counts[i].bytes);
	printf("]}\n");
	fflush(stdout);
}

/* --- options -------------------------------------------------------------------------------- */

static void print_usage(const struct bare_program *program, FILE *out)
{
	fprintf(out,
		"usage: %s [--accept shared|shared-even|reuse-port|pass] [--workers N]\n"
		"       [--host ADDRESS] [--port PORT | --path PATH] [--seconds N]%s\n",
		program->name, program->usage);
}

static enum accept_mode mode_by_name(const char *name)
{
	for (int i = 0; i < ACCEPT_MODES; i++) {
		if (strcmp(name, mode_names[i]) == 0)
			return i;
	}
	errx(EX_USAGE, "no accept mode: %s", name);
}

static uint64_t number_option(const char *text, uint64_t min, uint64_t max)
{
	uint64_t number;

	if (number_parse(text, max, &number) < 0 || number < min)
		errx(EX_USAGE, "not a number from %llu to %llu: %s", (unsigned long long)min,
		     (unsigned long long)max, text);
	return number;
}

static void parse_options(int argc, char *argv[], const struct bare_program *program)
{
	static const struct option options[] = {
		{"accept", required_argument, NULL, 'a'},
		{"workers", required_argument, NULL, 'w'},
		{"host", required_argument, NULL, 'H'},
		{"port", required_argument, NULL, 'p'},
		{"path", required_argument, NULL, 'u'},
		{"seconds", required_argument, NULL, 's'},
		{"to", required_argument, NULL, 't'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'a')
			mode = mode_by_name(optarg);
		else if (option == 'w')
			n_workers = number_option(optarg, 1, WORKERS_MAX);
		else if (option == 'H')
			host = optarg;
		else if (option == 'p')
			port = number_option(optarg, 0, UINT16_MAX);
		else if (option == 'u')
			path = optarg;
		else if (option == 's')
			seconds = number_option(optarg, 1, SECONDS_MAX);
		else if (option == 'h') {
			print_usage(program, stdout);
			exit(0);
		} else if (option != 't' || !program->option || program->option(optarg) < 0) {
			print_usage(program, stderr);
			exit(EX_USAGE);
		}
	}
}

static int block_signals(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd == -1)
		err(EX_OSERR, "signalfd");
	return fd;
}

int bare_main(int argc, char *argv[], const struct bare_program *program)
{
	int signals;

	parse_options(argc, argv, program);
	alarm((unsigned)seconds); /* whatever happens: the master dies, and the workers with it */
	all_counts = mmap(NULL, sizeof(*all_counts) * n_workers, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (all_counts == MAP_FAILED)
		err(EX_OSERR, "mmap");

	signals = block_signals();
	open_listeners();
	if (pipe2(started, O_CLOEXEC) == -1)
		err(EX_OSERR, "pipe");
	for (size_t i = 0; i < n_workers; i++)
		start_worker(program, i);
	wait_for_workers();

	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd == -1 || bare_watch(signals, EPOLLIN) == -1 ||
	    (mode == PASS && bare_watch(listeners[0], EPOLLIN) == -1))
		err(EX_OSERR, "epoll");
	if (path)
		printf("listening %s\n", path);
	else
		printf("listening %s %d\n", host, (int)port);
	fflush(stdout);

	run_master(signals);
	end_workers();
	print_counts();
	return 0;
}
