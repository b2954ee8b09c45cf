#include "common/net/attempts.h"

#include <string.h>

#include "common/macros.h"

struct attempt {
	struct attempts *attempts;
	struct addr addr;
	ev_io watcher;
	int fd; /* -1: not started, or over */
};

struct attempts {
	struct ev_loop *loop;
	const struct attempts_ops *ops;
	void *ctx;
	struct addr local; /* .len 0: any */
	uint16_t local_port;
	ev_timer timer; /* starts the next one */
	unsigned depth; /* calls of ours that must find the memory when an op returns */
	bool ended;
	size_t count;
	size_t started;
	size_t failed;
	struct attempts_failure *failures; /* room for count */
	struct attempt list[];
};

static bool is_known(const struct attempts *attempts, const struct addr *addr)
{
	for (size_t i = 0; i < attempts->count; i++)
		if (addr_equal(&attempts->list[i].addr, addr))
			return true;
	return false;
}

/* The next address at or after *cursor that is new and of the first one's family, or is not. */
static const struct addr *next_address(const struct attempts *attempts,
				       const struct attempts_request *request, bool like_first,
				       size_t *cursor)
{
	int first = addr_family(&request->addresses[0]);

	while (*cursor < request->count) {
		const struct addr *addr = &request->addresses[(*cursor)++];

		if ((addr_family(addr) == first) == like_first && !is_known(attempts, addr))
			return addr;
	}
	return NULL;
}

static void add(struct attempts *attempts, const struct addr *addr)
{
	if (!addr || attempts->count == ATTEMPTS_MAX)
		return;

	struct attempt *attempt = &attempts->list[attempts->count++];
	attempt->attempts = attempts;
	attempt->addr = *addr;
	attempt->fd = -1;
}

/* One of the first address's family, one of the other, and so on while there are both. */
static void add_in_turn(struct attempts *attempts, const struct attempts_request *request)
{
	const struct addr *like_first, *other;
	size_t cursors[2] = {0, 0};

	do {
		like_first = next_address(attempts, request, true, &cursors[0]);
		add(attempts, like_first);
		other = next_address(attempts, request, false, &cursors[1]);
		add(attempts, other);
	} while ((like_first || other) && attempts->count < ATTEMPTS_MAX);
}

static void attempts_free(struct attempts *attempts)
{
	if (!attempts)
		return;
	free(attempts->failures);
	free(attempts);
}

static int attempts_new(const struct attempts_request *request, struct attempts **ret)
{
	size_t most = request->count < ATTEMPTS_MAX ? request->count : ATTEMPTS_MAX;
	struct attempts *attempts = calloc(1, sizeof(*attempts) + most * sizeof(attempts->list[0]));

	if (attempts)
		attempts->failures = calloc(most, sizeof(attempts->failures[0]));
	if (!attempts || !attempts->failures) {
		attempts_free(attempts);
		return -ENOMEM;
	}

	if (request->local)
		attempts->local = *request->local;
	attempts->local_port = request->local_port;
	add_in_turn(attempts, request);
	*ret = attempts;
	return 0;
}

static void attempt_close(struct attempt *attempt)
{
	ev_io_stop(attempt->attempts->loop, &attempt->watcher);
	close_fd(attempt->fd);
	attempt->fd = -1;
}

static void end(struct attempts *attempts)
{
	attempts->ended = true;
	ev_timer_stop(attempts->loop, &attempts->timer);
	for (size_t i = 0; i < attempts->started; i++)
		if (attempts->list[i].fd != -1)
			attempt_close(&attempts->list[i]);
}

static void enter(struct attempts *attempts)
{
	attempts->depth++;
}

static void leave(struct attempts *attempts)
{
	if (--attempts->depth == 0 && attempts->ended)
		attempts_free(attempts);
}

static void finish(struct attempts *attempts, int status, int fd, const struct addr *winner)
{
	struct attempts_result result = {
		.status = status,
		.fd = fd,
		.winner = winner,
		.failures = attempts->failures,
		.failure_count = attempts->failed,
	};

	end(attempts);
	attempts->ops->on_done(&result, attempts->ctx);
}

static void finish_with_winner(struct attempts *attempts, struct attempt *winner)
{
	ev_io_stop(attempts->loop, &winner->watcher);
	finish(attempts, 0, take_fd(&winner->fd), &winner->addr);
}

static void finish_if_all_failed(struct attempts *attempts)
{
	if (attempts->ended || attempts->failed < attempts->count)
		return;
	finish(attempts, attempts->count == 1 ? attempts->failures[0].error : NET_ERR_ALL_FAILED,
	       -1, NULL);
}

static void note_failure(struct attempts *attempts, struct attempt *attempt, int error,
			 const char *syscall)
{
	struct attempts_failure *failure = &attempts->failures[attempts->failed++];

	failure->addr = attempt->addr;
	failure->error = error;
	failure->syscall = syscall;
	if (attempts->ops->on_attempt_failed)
		attempts->ops->on_attempt_failed(failure, attempts->ctx);
}

/* With a port asked for, earlier connections from it in TIME_WAIT must not be in the way. Without
 * one, the kernel is better off to choose it at connect(2), when it knows the peer: else the local
 * address is used up after some 28000 connections to any peers (ip(7), IP_BIND_ADDRESS_NO_PORT).
 * That is a help, and its failure no error. */
static int bind_local(const struct attempts *attempts, int family, int fd)
{
	int option = attempts->local_port == 0 ? IP_BIND_ADDRESS_NO_PORT : SO_REUSEADDR;
	int level = attempts->local_port == 0 ? SOL_IP : SOL_SOCKET;
	struct addr local = attempts->local;
	int one = 1;

	if (local.len == 0 && attempts->local_port == 0)
		return 0;
	if (local.len == 0)
		addr_any(family, attempts->local_port, &local);
	addr_set_port(&local, attempts->local_port);

	setsockopt(fd, level, option, &one, sizeof(one));
	if (bind(fd, &local.sa, local.len) == -1)
		return -errno;
	return 0;
}

static int open_socket(const struct attempts *attempts, const struct addr *addr, int *ret_fd,
		       const char **ret_syscall)
{
	AUTO_CLOSE int fd = -1;
	int error;

	*ret_syscall = "socket";
	fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return -errno;

	*ret_syscall = "bind";
	error = bind_local(attempts, addr->sa.sa_family, fd);
	if (error < 0)
		return error;

	/* Interrupted, it goes on by itself, like one in progress. */
	*ret_syscall = "connect";
	if (connect(fd, &addr->sa, addr->len) == -1 && errno != EINPROGRESS && errno != EINTR)
		return -errno;

	*ret_fd = take_fd(&fd);
	return 0;
}

/* 1 if the socket is connected, 0 if it is not yet: readiness may be a false alarm. */
static int connection_state(int fd)
{
	struct addr peer;
	int error = 0;
	socklen_t size = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == -1)
		return -errno;
	if (error != 0)
		return -error;

	error = addr_of_peer(fd, &peer);
	if (error == -ENOTCONN)
		return 0;
	return error < 0 ? error : 1;
}

static void try_next(struct attempts *attempts);

static void on_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct attempt *attempt = CONTAINER_OF(watcher, struct attempt, watcher);
	struct attempts *attempts = attempt->attempts;
	/* With an error the kernel has no room for one watch more. */
	int state = events & EV_ERROR ? -ENOMEM : connection_state(attempt->fd);

	if (state == 0)
		return;

	enter(attempts);
	if (state > 0) {
		finish_with_winner(attempts, attempt);
	} else {
		attempt_close(attempt);
		note_failure(attempts, attempt, state, "connect");
		if (attempt == &attempts->list[attempts->started - 1])
			try_next(attempts);
		finish_if_all_failed(attempts);
	}
	leave(attempts);
}

static int attempt_start(struct attempts *attempts, struct attempt *attempt,
			 const char **ret_syscall)
{
	int error = open_socket(attempts, &attempt->addr, &attempt->fd, ret_syscall);

	if (error < 0)
		return error;
	ev_io_init(&attempt->watcher, on_writable, attempt->fd, EV_WRITE);
	ev_io_start(attempts->loop, &attempt->watcher);
	return 0;
}

/* Whether it goes on: not if it failed inside the call, or everything has ended. */
static bool try_one(struct attempts *attempts, struct attempt *attempt)
{
	const char *syscall;
	int error;

	if (attempts->ops->on_attempt)
		attempts->ops->on_attempt(&attempt->addr, attempts->ctx);
	if (attempts->ended)
		return false;

	attempts->started++;
	error = attempt_start(attempts, attempt, &syscall);
	if (error < 0)
		note_failure(attempts, attempt, error, syscall);
	return error == 0;
}

static void try_next(struct attempts *attempts)
{
	bool goes_on = false;

	while (!goes_on && !attempts->ended && attempts->started < attempts->count)
		goes_on = try_one(attempts, &attempts->list[attempts->started]);

	if (attempts->ended)
		return;
	if (attempts->started < attempts->count)
		ev_timer_again(attempts->loop, &attempts->timer);
	else
		ev_timer_stop(attempts->loop, &attempts->timer);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct attempts *attempts = CONTAINER_OF(timer, struct attempts, timer);

	enter(attempts);
	try_next(attempts);
	finish_if_all_failed(attempts);
	leave(attempts);
}

static int check_request(const struct attempts_request *request)
{
	if (request->count == 0)
		return -EINVAL;
	for (size_t i = 0; i < request->count; i++)
		if (addr_family(&request->addresses[i]) == 0)
			return -EINVAL;
	return 0;
}

int attempts_start(struct ev_loop *loop, const struct attempts_request *request,
		   const struct attempts_ops *ops, void *ctx, struct attempts **ret)
{
	unsigned delay_ms = request->delay_ms ? request->delay_ms : ATTEMPTS_DELAY_MS;
	struct attempts *attempts;
	int error;

	error = check_request(request);
	if (error < 0)
		return error;

	error = attempts_new(request, &attempts);
	if (error < 0)
		return error;

	attempts->loop = loop;
	attempts->ops = ops;
	attempts->ctx = ctx;
	ev_timer_init(&attempts->timer, on_timer, 0., delay_ms / 1000.);
	ev_timer_start(loop, &attempts->timer);
	*ret = attempts;
	return 0;
}

void attempts_cancel(struct attempts *attempts)
{
	if (!attempts)
		return;

	enter(attempts);
	end(attempts);
	leave(attempts);
}
