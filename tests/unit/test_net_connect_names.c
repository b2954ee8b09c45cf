/* Connecting by a name: what a lookup may answer, and which of its addresses are tried. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/net/net.h"
#include "tests/helpers/clients.h"
#include "tests/helpers/stage.h"

/* --- a lookup of the user's own -------------------------------------------------------------- */

struct answers {
	struct net_address addresses[3];
	size_t count;
	int status;
	int refuse;
	struct net_lookup *waiting; /* not answered at once */
	bool wait;
};

static int answer(struct net_lookup *lookup, const char *host, int family, int hints, void *ctx)
{
	struct answers *answers = ctx;

	assert_string_equal(host, "some.name");
	if (answers->refuse)
		return answers->refuse;
	if (answers->wait)
		answers->waiting = lookup;
	else
		net_lookup_reply(lookup, answers->status, answers->addresses, answers->count);
	return 0;
}

/* H listens on 127.0.0.1. */
static const struct answers the_second_lives = {
	.addresses = {{.address = "127.0.0.2", .family = 4}, {.address = "127.0.0.1", .family = 4}},
	.count = 2,
};

static int connect_by(struct stage *stage, struct answers *answers, int port, int family)
{
	stage_unconnected(stage);
	return stage_connect_to(stage, (struct net_connect_options){.has_port = true,
								    .port = port,
								    .host = "some.name",
								    .family = family,
								    .lookup = answer,
								    .lookup_ctx = answers});
}

/* CN-3, CN-4, CN-11: each address is told; the first that answers wins. */
static void every_address_is_told_and_the_living_one_wins(void **state)
{
	struct answers answers = {.addresses = {{.address = "::1", .family = 6},
						{.address = "127.0.0.1", .family = 4}},
				  .count = 2};
	struct stage *stage = *state;

	stage_open(stage, NULL);
	assert_int_equal(connect_by(stage, &answers, host_port(&stage->host), 0), 0);
	assert_string_equal(stage->story.text, "");
	story_run_until(&stage->story, "C.ready");
	assert_true(story_in_order(&stage->story, "C.lookup:::1", "C.lookup:127.0.0.1"));
	assert_true(story_in_order(&stage->story, "C.lookup:127.0.0.1", "C.connect"));
}

static void note_errors(struct net_socket *socket, const struct net_error *error, void *ctx)
{
	struct actor *actor = ctx;

	actor->error = error->code;
	actor->status = (int)error->error_count;
	for (size_t i = 0; i < error->error_count; i++)
		story_tell(actor->story, "%s", error->errors[i].text);
}

/* CN-11, ER-13: one error that lists each attempt. */
static void when_every_address_fails_one_error_lists_them(void **state)
{
	struct answers answers = {.addresses = {{.address = "127.0.0.1", .family = 4},
						{.address = "127.0.0.2", .family = 4},
						{.address = "127.0.0.1", .family = 4}},
				  .count = 3};
	struct net_socket_ops ops = actor_ops;
	struct stage *stage = *state;
	int port = free_tcp_port();
	char text[64];

	ops.on_error = note_errors;
	assert_int_equal(connect_by(stage, &answers, port, 0), 0);
	net_socket_set_ops(stage->client.socket, &ops, &stage->client);
	story_run_until(&stage->story, "C.close:error");
	assert_int_equal(stage->client.error, NET_ERR_ALL_FAILED);
	assert_int_equal(stage->client.status, 2);
	snprintf(text, sizeof(text), "connect ECONNREFUSED 127.0.0.2:%d ", port);
	assert_non_null(strstr(stage->story.text, text));
}

/* CN-11: who names a family gets the first address and no other. */
static void with_a_family_only_the_first_address_is_tried(void **state)
{
	struct answers answers = the_second_lives;
	struct stage *stage = *state;

	stage_open(stage, NULL);
	assert_int_equal(connect_by(stage, &answers, host_port(&stage->host), 4), 0);
	story_run_until(&stage->story, "C.close:error");
	assert_int_equal(stage->client.error, -ECONNREFUSED);
}

/* ER-4: "getaddrinfo ENOTFOUND name", told by on_lookup as well. */
static void a_failed_lookup_is_told_and_named(void **state)
{
	struct answers answers = {.status = NET_ERR_NOT_FOUND};
	struct stage *stage = *state;

	assert_int_equal(connect_by(stage, &answers, 80, 0), 0);
	story_run_until(&stage->story, "C.close:error");
	assert_string_equal(stage->story.text, "C.lookup:ENOTFOUND C.done:ENOTFOUND "
					       "C.error:ENOTFOUND C.close:error ");
	assert_string_equal(stage->client.error_text, "getaddrinfo ENOTFOUND some.name");
}

static void a_lookup_that_refuses_to_start_is_a_failed_one(void **state)
{
	struct answers answers = {.refuse = -EIO};
	struct stage *stage = *state;

	assert_int_equal(connect_by(stage, &answers, 80, 0), 0);
	story_run_until(&stage->story, "C.close:error");
	assert_string_equal(stage->client.error_text, "getaddrinfo EIO some.name");
}

/* ER-9: what a user's lookup says is checked. */
static void a_lookup_that_gives_nonsense_is_refused(void **state)
{
	struct answers nonsense = {.addresses = {{.address = "nonsense", .family = 4}}, .count = 1};
	struct answers family = {.addresses = {{.address = "127.0.0.1", .family = 6}}, .count = 1};
	struct answers nothing = {.count = 0};
	struct stage *stage = *state;

	assert_int_equal(connect_by(stage, &nonsense, 80, 0), 0);
	story_run_until(&stage->story, "C.close:error");
	assert_int_equal(stage->client.error, NET_ERR_INVALID_IP_ADDRESS);

	story_forget(&stage->story);
	assert_int_equal(connect_by(stage, &family, 80, 0), 0);
	story_run_until(&stage->story, "C.close:error");
	assert_int_equal(stage->client.error, NET_ERR_INVALID_ADDRESS_FAMILY);

	story_forget(&stage->story);
	assert_int_equal(connect_by(stage, &nothing, 80, 0), 0);
	story_run_until(&stage->story, "C.close:error");
	assert_int_equal(stage->client.error, NET_ERR_NOT_FOUND);
}

/* CN-7: an answer that comes too late is discarded. */
static void an_answer_after_the_end_is_discarded(void **state)
{
	struct answers answers = {
		.addresses = {{.address = "127.0.0.1", .family = 4}}, .count = 1, .wait = true};
	struct stage *stage = *state;

	assert_int_equal(connect_by(stage, &answers, 80, 0), 0);
	story_run_ready(&stage->story);
	assert_non_null(answers.waiting);
	net_socket_destroy(stage->client.socket, 0);
	story_run_until(&stage->story, "C.close");
	net_lookup_reply(answers.waiting, 0, answers.addresses, 1);
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "C.done:ECANCELED C.close ");
}

/* CN-4: the order of all that is told. */
static void every_step_is_told_in_order(void **state)
{
	struct answers answers = the_second_lives;
	struct stage *stage = *state;

	stage_open(stage, NULL);
	assert_int_equal(connect_by(stage, &answers, host_port(&stage->host), 0), 0);
	net_socket_set_ops(stage->client.socket, &actor_full_ops, &stage->client);
	stage->host.guest_count = 0;
	stage->host.on[ON_CONNECTION] = NULL;
	story_run_until(&stage->story, "C.ready");
	assert_true(story_in_order(&stage->story, "C.lookup:127.0.0.1", "C.attempt:127.0.0.2"));
	assert_true(story_in_order(&stage->story, "C.attempt:127.0.0.2", "C.failed:ECONNREFUSED"));
	assert_true(story_in_order(&stage->story, "C.failed:ECONNREFUSED", "C.attempt:127.0.0.1"));
	assert_true(story_in_order(&stage->story, "C.attempt:127.0.0.1", "C.done:0"));
	assert_true(story_in_order(&stage->story, "C.done:0", "C.connect"));
	assert_true(story_in_order(&stage->story, "C.connect", "C.ready"));
	net_server_close_all_connections(stage->host.server);
}

/* --- block lists ----------------------------------------------------------------------------- */

/* ER-13: ERR_IP_BLOCKED; nobody is connected. */
static void a_blocked_address_is_not_connected(void **state)
{
	struct stage *stage = *state;
	struct net_block_list *list;

	assert_int_equal(net_block_list_new(&list), 0);
	assert_int_equal(net_block_list_add_subnet(list, "127.0.0.0", 8), 0);
	stage_open(stage, NULL);
	stage_unconnected(stage);
	const struct net_connect_options target = {.has_port = true,
						   .port = host_port(&stage->host),
						   .host = "127.0.0.1",
						   .block_list = list};
	assert_int_equal(stage_connect_to(stage, target), 0);
	story_run_until(&stage->story, "C.close:error");
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text,
			    "C.done:ERR_IP_BLOCKED C.error:ERR_IP_BLOCKED C.close:error ");
	net_block_list_free(list);
}

/* Of several addresses those that are not blocked are tried. */
static void other_addresses_than_the_blocked_are_tried(void **state)
{
	struct answers answers = the_second_lives;
	struct stage *stage = *state;
	struct net_block_list *list;

	assert_int_equal(net_block_list_new(&list), 0);
	assert_int_equal(net_block_list_add_address(list, "127.0.0.2"), 0);
	stage_open(stage, NULL);
	stage_unconnected(stage);
	const struct net_connect_options target = {.has_port = true,
						   .port = host_port(&stage->host),
						   .host = "some.name",
						   .lookup = answer,
						   .lookup_ctx = &answers,
						   .block_list = list};
	assert_int_equal(stage_connect_to(stage, target), 0);
	net_socket_set_ops(stage->client.socket, &actor_full_ops, &stage->client);
	story_run_until(&stage->story, "C.ready");
	assert_false(story_has(&stage->story, "C.attempt:127.0.0.2"));
	net_block_list_free(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_stage(every_address_is_told_and_the_living_one_wins),
		on_stage(when_every_address_fails_one_error_lists_them),
		on_stage(with_a_family_only_the_first_address_is_tried),
		on_stage(a_failed_lookup_is_told_and_named),
		on_stage(a_lookup_that_refuses_to_start_is_a_failed_one),
		on_stage(a_lookup_that_gives_nonsense_is_refused),
		on_stage(an_answer_after_the_end_is_discarded),
		on_stage(every_step_is_told_in_order),
		on_stage(a_blocked_address_is_not_connected),
		on_stage(other_addresses_than_the_blocked_are_tried),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
