#include "tests/helpers/crowd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/wait.h"

#define EVENTS_MAX 256

/* Addresses that the clients come from, one after the other. */
#define FIRST_ADDRESS 0x7f010000u
#define ADDRESSES     60000u

enum stage { ABSENT, CONNECTING, WAITING, HELD };

struct crowd_client {
	enum stage stage;
	int fd;
	int64_t leaves_at; /* if anybody leaves */
};

struct crowd *crowd_new(int port, size_t size)
{
	struct crowd *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->port = port;
	c->size = size;
	c->clients = calloc(size, sizeof(*c->clients));
	assert_non_null(c->clients);
	c->set = epoll_create1(EPOLL_CLOEXEC);
	assert_true(c->set >= 0);
	return c;
}

static void leave(struct crowd *c, struct crowd_client *client)
{
	c->figures.waiting -= client->stage != HELD;
	c->figures.held -= client->stage == HELD;
	close(client->fd);
	client->stage = ABSENT;
}

void crowd_free(struct crowd *c)
{
	for (size_t i = 0; i < c->size; i++)
		if (c->clients[i].stage != ABSENT)
			leave(c, &c->clients[i]);
	close(c->set);
	free(c->clients);
	free(c);
}

static void watch(struct crowd *c, size_t index, int operation, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.u64 = index};

	assert_int_equal(epoll_ctl(c->set, operation, c->clients[index].fd, &event), 0);
}

static void come(struct crowd *c, size_t index)
{
	struct crowd_client *client = &c->clients[index];
	const struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_addr = {htonl(INADDR_LOOPBACK)},
		.sin_port = htons((uint16_t)c->port),
	};
	const struct sockaddr_in from = {
		.sin_family = AF_INET,
		.sin_addr = {htonl(FIRST_ADDRESS + c->last_address++ % ADDRESSES)},
	};

	client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(client->fd >= 0);
	assert_int_equal(bind(client->fd, (const struct sockaddr *)&from, sizeof(from)), 0);
	if (connect(client->fd, (const struct sockaddr *)&to, sizeof(to)) == -1)
		assert_int_equal(errno, EINPROGRESS);
	client->stage = CONNECTING;
	c->figures.waiting++;
	watch(c, index, EPOLL_CTL_ADD, EPOLLOUT);
}

void crowd_fill(struct crowd *c)
{
	for (size_t i = 0; i < c->size; i++)
		if (c->clients[i].stage == ABSENT)
			come(c, i);
}

static void leave_place(struct crowd *c, size_t index)
{
	leave(c, &c->clients[index]);
	if (c->replace)
		come(c, index);
}

/* The end came in place of what was expected. */
static void fail_client(struct crowd *c, size_t index, bool is_reset)
{
	if (c->clients[index].stage == HELD)
		c->figures.cut_off++;
	else if (is_reset)
		c->figures.reset++;
	else
		c->figures.ended++;
	leave_place(c, index);
}

static void on_answer(struct crowd *c, struct crowd_client *client)
{
	client->stage = HELD;
	client->leaves_at = c->stays_ms < 0 ? 0 : now_ms() + rand() % (c->stays_ms + 1);
	c->figures.waiting--;
	c->figures.served++;
	c->figures.held++;
	if (c->figures.held > c->figures.most_held)
		c->figures.most_held = c->figures.held;
}

static void on_event(struct crowd *c, size_t index)
{
	struct crowd_client *client = &c->clients[index];
	char byte = 0;
	ssize_t n;

	if (client->stage == CONNECTING) {
		n = send(client->fd, "x", 1, MSG_NOSIGNAL);
		client->stage = WAITING;
		watch(c, index, EPOLL_CTL_MOD, EPOLLIN);
		if (n == 1)
			return;
		if (errno == ECONNRESET) {
			fail_client(c, index, true);
			return;
		}
	}
	n = recv(client->fd, &byte, 1, 0);
	if (n == -1 && errno == EAGAIN)
		return;
	if (n == 1 && byte == 'x' && client->stage == WAITING)
		on_answer(c, client);
	else
		fail_client(c, index, n == -1);
}

static void let_leave(struct crowd *c)
{
	int64_t now = now_ms();

	for (size_t i = 0; i < c->size && c->stays_ms >= 0; i++) {
		const struct crowd_client *client = &c->clients[i];

		if (client->stage == HELD && client->leaves_at <= now)
			leave_place(c, i);
	}
}

bool crowd_run(struct crowd *c, int ms, bool (*is_there)(void *ctx), void *ctx)
{
	int64_t end = now_ms() + ms;
	struct epoll_event events[EVENTS_MAX];

	do {
		int n = (int)TEMP_FAILURE_RETRY(epoll_wait(c->set, events, EVENTS_MAX, 1));

		assert_true(n >= 0);
		for (int i = 0; i < n; i++)
			on_event(c, events[i].data.u64);
		let_leave(c);
		if (is_there && is_there(ctx))
			return true;
	} while (now_ms() < end);
	return false;
}

void crowd_leave(struct crowd *c, size_t count)
{
	for (size_t i = 0; i < c->size && count > 0; i++) {
		if (c->clients[i].stage != HELD)
			continue;
		leave_place(c, i);
		count--;
	}
	assert_int_equal(count, 0);
}
