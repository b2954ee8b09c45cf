#include "tests/helpers/stage.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/net/socket.h"
#include "tests/helpers/wait.h"

int stage_set(void **state)
{
	struct stage *stage = calloc(1, sizeof(*stage));

	if (!stage)
		return -1;
	watchdog(120);
	strcpy(stage->directory, "/tmp/stage-XXXXXX");
	if (!mkdtemp(stage->directory))
		return -1;
	snprintf(stage->path, sizeof(stage->path), "%s/socket", stage->directory);

	story_begin(&stage->story);
	stage->host = (struct host){.story = &stage->story, .name = "H"};
	stage->client.name = "C";
	stage->guest.name = "S";
	stage->host.guests[0] = &stage->guest;
	for (size_t i = 0; i < ARRAY_LEN(stage->guests); i++) {
		stage->guests[i].name = "G";
		stage->host.guests[1 + i] = &stage->guests[i];
	}
	stage->host.guest_count = 1 + ARRAY_LEN(stage->guests);
	*state = stage;
	return 0;
}

static void end_actor(struct actor *actor)
{
	memset(actor->on, 0, sizeof(actor->on));
	if (actor->socket)
		net_socket_destroy(actor->socket, 0);
}

int stage_clear(void **state)
{
	struct stage *stage = *state;

	memset(stage->host.on, 0, sizeof(stage->host.on));
	end_actor(&stage->client);
	end_actor(&stage->guest);
	for (size_t i = 0; i < ARRAY_LEN(stage->guests); i++)
		end_actor(&stage->guests[i]);
	net_server_free(stage->host.server);
	story_end(&stage->story);
	unlink(stage->path);
	rmdir(stage->directory);
	free(stage);
	return 0;
}

struct net_server *stage_create(struct stage *stage, const struct net_server_options *options)
{
	assert_int_equal(net_create_server(stage->story.loop, options, &host_ops, &stage->host,
					   &stage->host.server),
			 0);
	return stage->host.server;
}

int stage_listen_on(struct stage *stage, struct net_listen_options options)
{
	return net_server_listen(stage->host.server, &options, host_done, &stage->host);
}

void stage_open(struct stage *stage, const struct net_server_options *options)
{
	host_open(&stage->host, &stage->story, "H", options);
}

void stage_open_path(struct stage *stage, const struct net_server_options *options)
{
	stage_create(stage, options);
	assert_int_equal(net_server_listen_path(stage->host.server, stage->path, 0, NULL, NULL), 0);
	story_run_until(&stage->story, "H.listening");
	story_forget(&stage->story);
}

void stage_unconnected(struct stage *stage)
{
	stage->client.story = &stage->story;
	assert_int_equal(net_socket_new(stage->story.loop, NULL, &actor_ops, &stage->client,
					&stage->client.socket),
			 0);
}

int stage_connect_to(struct stage *stage, struct net_connect_options options)
{
	return net_socket_connect(stage->client.socket, &options, actor_done, &stage->client);
}

void stage_connect(struct stage *stage, const struct net_socket_options *options)
{
	struct net_address address;

	assert_int_equal(net_server_address(stage->host.server, &address), 0);
	if (address.family != 0) {
		actor_connect(&stage->client, &stage->story, "C", &stage->host, options);
	} else {
		const struct net_connect_options target = {.path = address.address};

		stage->client.story = &stage->story;
		assert_int_equal(net_create_connection(stage->story.loop, &target, options,
						       &actor_ops, &stage->client,
						       &stage->client.socket),
				 0);
	}
	story_run_until(&stage->story, "H.connection");
	story_run_until(&stage->story, "C.ready");
	story_forget(&stage->story);
}

void stage_connected(struct stage *stage)
{
	stage_open(stage, NULL);
	stage_connect(stage, NULL);
}

int option_of(const struct net_socket *socket, int level, int name)
{
	int value = -1;
	socklen_t size = sizeof(value);

	assert_int_equal(getsockopt(socket->io.fd, level, name, &value, &size), 0);
	return value;
}

int stage_plain(struct stage *stage)
{
	int fd = plain_connect(&stage->host);

	story_run_until(&stage->story, "H.connection");
	story_forget(&stage->story);
	return fd;
}

void plain_send(int fd, const char *text)
{
	size_t size = strlen(text);

	assert_int_equal(send(fd, text, size, MSG_NOSIGNAL), size);
}

size_t plain_receive(int fd, void *data, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n;

		assert_true(wait_readable(fd, WAIT_MS));
		n = recv(fd, (char *)data + done, size - done, 0);
		assert_true(n >= 0);
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return done;
}

void plain_reset(int fd)
{
	const struct linger now = {.l_onoff = 1};

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	close(fd);
}

void plain_expect_reset(int fd)
{
	char byte;

	assert_true(wait_readable(fd, WAIT_MS));
	assert_int_equal(recv(fd, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
}
