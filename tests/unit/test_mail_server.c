/* Servers that go with messages: each end accepts, counts and closes by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/net/addr.h"
#include "tests/helpers/post.h"

struct received_host {
	struct host host;
	struct actor guests[2];
};

static void receive_server(struct post *post, struct received_host *r)
{
	const struct mail_handle handle = {.server = post->stage->host.server};

	*r = (struct received_host){.host = {.story = &post->stage->story, .name = "h"}};
	assert_int_equal(post_send(&post->a, "v", 1, &handle), 1);
	post_run_messages(&post->b, 1);
	post_run_dones(&post->a, 1);
	assert_non_null(post->b.server);
	for (size_t i = 0; i < ARRAY_LEN(r->guests); i++) {
		r->guests[i].name = "g";
		r->host.guests[i] = &r->guests[i];
	}
	r->host.guest_count = ARRAY_LEN(r->guests);
	r->host.server = post->b.server;
	net_server_set_ops(post->b.server, &host_ops, &r->host);
	story_forget(&post->stage->story);
}

static void end_received(struct received_host *r)
{
	for (size_t i = 0; i < ARRAY_LEN(r->guests); i++)
		if (r->guests[i].socket)
			net_socket_destroy(r->guests[i].socket, 0);
}

/* IP-8: each accepts, counts and closes by itself. */
static void a_server_that_was_sent_listens_in_both(void **state)
{
	struct post *post = *state;
	struct stage *stage = post->stage;
	static struct received_host r;
	struct net_address here, there;
	int client;

	stage_open(stage, &(struct net_server_options){.pause_on_connect = true});
	receive_server(post, &r);
	assert_true(net_server_listening(post->b.server));
	assert_int_equal(net_server_address(stage->host.server, &here), 0);
	assert_int_equal(net_server_address(post->b.server, &there), 0);
	assert_memory_equal(&here, &there, sizeof(here));

	size_t watched = post_watched(post);
	net_server_close(stage->host.server, host_done, &stage->host);
	story_run_until(&stage->story, "H.close");
	assert_int_equal(post_watched(post), watched - 1);
	client = plain_connect(&r.host);
	story_run_until(&stage->story, "h.connection");
	assert_int_equal(net_server_connections(post->b.server), 1);
	assert_true(net_socket_is_paused(r.guests[0].socket));
	close_fd(client);
	end_received(&r);
}

/* IP-8: the sender's goes on when the receiver's is closed. */
static void the_servers_close_independently(void **state)
{
	struct post *post = *state;
	struct stage *stage = post->stage;
	static struct received_host r;
	int client;

	stage_open_path(stage, NULL);
	receive_server(post, &r);
	net_server_close(post->b.server, host_done, &r.host);
	story_run_until(&stage->story, "h.close");
	client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct addr addr;
	assert_int_equal(addr_unix(stage->path, &addr), 0);
	assert_int_equal(connect(client, &addr.sa, addr.len), 0);
	story_run_until(&stage->story, "H.connection");
	close_fd(client);
}

static void a_server_that_is_closed_while_it_waits_does_not_go(void **state)
{
	struct post *post = *state;
	struct stage *stage = post->stage;
	struct mail_handle handle;

	stage_connected(stage);
	handle = (struct mail_handle){.server = stage->host.server};
	assert_int_equal(post_actor(&post->a, "1", &stage->guest), 1);
	assert_int_equal(post_send(&post->a, "22", 2, &handle), 1);
	net_server_free(stage->host.server);
	stage->host.server = NULL;
	post_run_messages(&post->b, 2);
	assert_true(story_has(&stage->story, "B.message:2"));
	post_run_dones(&post->a, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_post(a_server_that_was_sent_listens_in_both),
		on_post(the_servers_close_independently),
		on_post(a_server_that_is_closed_while_it_waits_does_not_go),
	};

	return cmocka_run_group_tests_name("mail_server", tests, NULL, NULL);
}
