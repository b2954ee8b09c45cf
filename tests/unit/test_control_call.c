/* One connection of the control socket, over a socketpair, with deadlines short enough to wait for.
 */
#include <ev.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "daemon/control_call.h"
#include "tests/helpers/line_client.h"

#define ANSWER(fields) "{\"version\":1,\"ok\":true" fields "}\n"
#define REFUSAL(exit, message)                                                                    \
	"{\"version\":1,\"ok\":false,\"error\":{\"exit\":" #exit ",\"message\":\"" message "\"}}" \
	"\n"
#define STATUS "{\"version\":1,\"command\":\"status\"}\n"

struct fixture {
	struct ev_loop *loop;
	struct control_calls calls;
	struct line_client client;
	struct control_call *asked[4]; /* what the receiver was given and has not answered */
	size_t asked_count;
	bool answer_at_once;
};

static void on_request(struct control_call *call, const char *command, const json_t *request,
		       void *ctx)
{
	struct fixture *f = ctx;

	assert_string_equal(command, "status");
	assert_int_equal(json_integer_value(json_object_get(request, "version")), 1);
	if (f->answer_at_once)
		control_answer(call, json_pack("{s:s}", "state", "running"));
	else
		f->asked[f->asked_count++] = call;
}

/* The receiver's end of a pair of sockets; the other becomes *theirs. */
static int make_pair(int *theirs)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
			 0);
	*theirs = pair[1];
	return pair[0];
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int theirs;

	alarm(60);
	f->loop = ev_loop_new(0);
	f->calls = (struct control_calls){
		.loop = f->loop, .fn = on_request, .ctx = f, .io_ms = 20000, .answer_ms = 20000};
	TAILQ_INIT(&f->calls.list);
	assert_int_equal(control_calls_add(&f->calls, make_pair(&theirs), false), 0);
	line_client_init(&f->client, f->loop, theirs);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	line_client_done(&f->client);
	control_calls_end(&f->calls);
	for (size_t i = 0; i < f->asked_count; i++)
		control_answer(f->asked[i], json_object());
	ev_loop_destroy(f->loop);
	free(f);
	alarm(0);
	return 0;
}

static void send_text(struct fixture *f, const char *text)
{
	line_client_send(&f->client, text, strlen(text));
}

static void run_until_asked(struct fixture *f, size_t count)
{
	while (f->asked_count < count)
		ev_run(f->loop, EVRUN_ONCE);
}

static void run_until_calls(struct fixture *f, size_t count)
{
	while (f->calls.count != count)
		ev_run(f->loop, EVRUN_ONCE);
}

static void expect(struct fixture *f, const char *answer)
{
	line_client_wait(&f->client);
	assert_string_equal(f->client.text, answer);
}

static void an_answer_within_the_request_is_sent(void **state)
{
	struct fixture *f = *state;

	f->answer_at_once = true;
	send_text(f, STATUS);
	expect(f, ANSWER(",\"state\":\"running\""));
	assert_int_equal(f->calls.count, 0);
}

static void a_later_answer_is_sent(void **state)
{
	struct fixture *f = *state;

	send_text(f, STATUS);
	run_until_asked(f, 1);
	control_answer(f->asked[--f->asked_count], json_object());
	expect(f, ANSWER(""));
	assert_int_equal(f->calls.count, 0);
}

static void a_refusal_carries_exit_code_and_message(void **state)
{
	struct fixture *f = *state;

	send_text(f, STATUS);
	run_until_asked(f, 1);
	control_refuse(f->asked[--f->asked_count], 77, "user \"%s\" may not", "ann");
	expect(f, REFUSAL(77, "user \\\"ann\\\" may not"));
}

/* File names need not be UTF-8, but JSON must. */
static void a_refusal_that_is_no_utf8_is_replaced(void **state)
{
	struct fixture *f = *state;

	send_text(f, STATUS);
	run_until_asked(f, 1);
	control_refuse(f->asked[--f->asked_count], 70, "file \"%s\"", "\xff");
	expect(f, REFUSAL(70, "the reason cannot be put into JSON; see usherd's log"));
}

static void an_answer_that_could_not_be_made_becomes_a_refusal(void **state)
{
	struct fixture *f = *state;

	send_text(f, STATUS);
	run_until_asked(f, 1);
	control_answer(f->asked[--f->asked_count], NULL);
	expect(f, REFUSAL(70, "the answer cannot be put into JSON"));
}

static void an_answer_over_the_limit_becomes_a_refusal(void **state)
{
	struct fixture *f = *state;
	char *text = malloc(CONTROL_ANSWER_SIZE);

	memset(text, 'x', CONTROL_ANSWER_SIZE);
	send_text(f, STATUS);
	run_until_asked(f, 1);
	control_answer(f->asked[--f->asked_count],
		       json_pack("{s:s#}", "big", text, CONTROL_ANSWER_SIZE));
	free(text);
	expect(f, REFUSAL(70, "the answer is too long"));
}

/* Takes what is there; tells how much, and keeps the last byte. */
static size_t take(int fd, char *last)
{
	static char part[65536];
	ssize_t n = recv(fd, part, sizeof(part), 0);

	if (n <= 0)
		return 0;
	*last = part[n - 1];
	return (size_t)n;
}

static void an_answer_larger_than_the_kernels_buffer_arrives_whole(void **state)
{
	static char text[1000001];
	struct fixture *f = *state;
	size_t got = 0, more;
	char last = 0;

	memset(text, 'x', sizeof(text) - 1);
	send_text(f, STATUS);
	run_until_asked(f, 1);
	ev_io_stop(f->loop, &f->client.io);
	control_answer(f->asked[--f->asked_count], json_pack("{s:s}", "big", text));

	while (f->calls.count > 0) {
		got += take(f->client.fd, &last);
		ev_run(f->loop, EVRUN_NOWAIT);
	}
	while ((more = take(f->client.fd, &last)) > 0)
		got += more;
	assert_int_equal(got, strlen(ANSWER(",\"big\":\"\"")) + sizeof(text) - 1);
	assert_int_equal(last, '\n');
}

static void a_request_may_come_byte_by_byte(void **state)
{
	struct fixture *f = *state;

	f->answer_at_once = true;
	for (const char *c = STATUS; *c; c++) {
		line_client_send(&f->client, c, 1);
		ev_run(f->loop, EVRUN_NOWAIT);
	}
	expect(f, ANSWER(",\"state\":\"running\""));
}

static void a_request_of_the_very_limit_is_read(void **state)
{
	struct fixture *f = *state;
	char line[CONTROL_REQUEST_SIZE + 1];

	snprintf(line, sizeof(line), "%*s", CONTROL_REQUEST_SIZE, STATUS);
	f->answer_at_once = true;
	line_client_send(&f->client, line, CONTROL_REQUEST_SIZE);
	expect(f, ANSWER(",\"state\":\"running\""));
}

static void a_longer_request_is_refused(void **state)
{
	struct fixture *f = *state;
	char line[CONTROL_REQUEST_SIZE + 1];

	memset(line, ' ', sizeof(line));
	line_client_send(&f->client, line, sizeof(line));
	expect(f, REFUSAL(64, "the request is longer than 4096 bytes"));
	assert_int_equal(f->asked_count, 0);
}

static void a_second_request_in_the_same_breath_is_refused(void **state)
{
	struct fixture *f = *state;

	send_text(f, STATUS STATUS);
	expect(f, REFUSAL(64, "only one request may be sent on a connection"));
	assert_int_equal(f->asked_count, 0);
}

static void a_request_without_its_line_feed_is_refused(void **state)
{
	struct fixture *f = *state;

	line_client_send(&f->client, STATUS, strlen(STATUS) - 1);
	shutdown(f->client.fd, SHUT_WR);
	expect(f, REFUSAL(64, "the request ended before its line feed"));
}

/* So that `nc -N -U` can ask. */
static void a_client_that_shut_its_sending_side_gets_its_answer(void **state)
{
	struct fixture *f = *state;

	send_text(f, STATUS);
	shutdown(f->client.fd, SHUT_WR);
	run_until_asked(f, 1);
	ev_run(f->loop, EVRUN_NOWAIT);
	assert_int_equal(f->calls.count, 1);
	control_answer(f->asked[--f->asked_count], json_object());
	expect(f, ANSWER(""));
}

static void a_client_that_talks_on_while_waiting_is_not_read(void **state)
{
	struct fixture *f = *state;

	send_text(f, STATUS);
	run_until_asked(f, 1);
	send_text(f, STATUS);
	ev_run(f->loop, EVRUN_ONCE);
	control_answer(f->asked[--f->asked_count], json_object());
	expect(f, ANSWER(""));
	assert_int_equal(f->asked_count, 0);
}

static void a_client_gone_before_asking_is_forgotten(void **state)
{
	struct fixture *f = *state;

	line_client_done(&f->client);
	run_until_calls(f, 0);
	assert_int_equal(f->asked_count, 0);
}

static void answering_a_client_that_has_gone_is_harmless(void **state)
{
	struct fixture *f = *state;
	int theirs;

	send_text(f, STATUS);
	run_until_asked(f, 1);
	line_client_done(&f->client);
	ev_run(f->loop, EVRUN_ONCE);
	assert_int_equal(f->calls.count, 1); /* the receiver still has it */
	control_answer(f->asked[--f->asked_count], json_object());
	assert_int_equal(f->calls.count, 0);

	/* Also when nobody noticed until the answer is written. */
	assert_int_equal(control_calls_add(&f->calls, make_pair(&theirs), false), 0);
	line_client_init(&f->client, f->loop, theirs);
	send_text(f, STATUS);
	run_until_asked(f, 1);
	line_client_done(&f->client);
	control_refuse(f->asked[--f->asked_count], 75, "later");
	run_until_calls(f, 0);
}

static void a_slow_request_is_refused_at_its_deadline(void **state)
{
	struct fixture *f = *state;
	int theirs;

	line_client_done(&f->client);
	run_until_calls(f, 0);
	f->calls.io_ms = 30;
	assert_int_equal(control_calls_add(&f->calls, make_pair(&theirs), false), 0);
	line_client_init(&f->client, f->loop, theirs);
	line_client_send(&f->client, "{", 1);
	expect(f, REFUSAL(64, "no whole request came in time"));
}

static void a_client_that_does_not_take_its_answer_is_ended(void **state)
{
	static char text[1000001];
	struct fixture *f = *state;

	memset(text, 'x', sizeof(text) - 1);
	send_text(f, STATUS);
	run_until_asked(f, 1);
	ev_io_stop(f->loop, &f->client.io);
	f->calls.io_ms = 30;
	control_answer(f->asked[--f->asked_count], json_pack("{s:s}", "big", text));
	run_until_calls(f, 0);
}

static void a_receiver_that_does_not_answer_in_time_is_answered_for(void **state)
{
	struct fixture *f = *state;

	f->calls.answer_ms = 30;
	send_text(f, STATUS);
	expect(f, REFUSAL(75, "usherd found no answer in time; try again"));
	assert_int_equal(f->asked_count, 1);
	assert_int_equal(f->calls.count, 1);
	control_answer(f->asked[--f->asked_count], json_object());
	assert_int_equal(f->calls.count, 0);
}

static void a_receiver_may_answer_while_its_lateness_is_being_told(void **state)
{
	struct fixture *f = *state;

	f->calls.answer_ms = 1;
	send_text(f, STATUS);
	run_until_asked(f, 1);
	while (f->client.size == 0)
		ev_run(f->loop, EVRUN_ONCE);
	control_refuse(f->asked[--f->asked_count], 70, "too late");
	expect(f, REFUSAL(75, "usherd found no answer in time; try again"));
	assert_int_equal(f->calls.count, 0);
}

static void at_the_end_waiting_clients_are_told(void **state)
{
	struct fixture *f = *state;

	send_text(f, STATUS);
	run_until_asked(f, 1);
	control_calls_end(&f->calls);
	assert_int_equal(f->calls.count, 0);
	expect(f, REFUSAL(69, "usherd is going"));
	control_answer(f->asked[--f->asked_count], json_object());
}

static void at_the_end_an_answer_just_given_is_still_sent(void **state)
{
	struct fixture *f = *state;

	send_text(f, STATUS);
	run_until_asked(f, 1);
	control_answer(f->asked[--f->asked_count], json_object());
	control_calls_end(&f->calls);
	expect(f, ANSWER(""));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_answer_within_the_request_is_sent),
		TEST(a_later_answer_is_sent),
		TEST(a_refusal_carries_exit_code_and_message),
		TEST(a_refusal_that_is_no_utf8_is_replaced),
		TEST(an_answer_that_could_not_be_made_becomes_a_refusal),
		TEST(an_answer_over_the_limit_becomes_a_refusal),
		TEST(an_answer_larger_than_the_kernels_buffer_arrives_whole),
		TEST(a_request_may_come_byte_by_byte),
		TEST(a_request_of_the_very_limit_is_read),
		TEST(a_longer_request_is_refused),
		TEST(a_second_request_in_the_same_breath_is_refused),
		TEST(a_request_without_its_line_feed_is_refused),
		TEST(a_client_that_shut_its_sending_side_gets_its_answer),
		TEST(a_client_that_talks_on_while_waiting_is_not_read),
		TEST(a_client_gone_before_asking_is_forgotten),
		TEST(answering_a_client_that_has_gone_is_harmless),
		TEST(a_slow_request_is_refused_at_its_deadline),
		TEST(a_client_that_does_not_take_its_answer_is_ended),
		TEST(a_receiver_that_does_not_answer_in_time_is_answered_for),
		TEST(a_receiver_may_answer_while_its_lateness_is_being_told),
		TEST(at_the_end_waiting_clients_are_told),
		TEST(at_the_end_an_answer_just_given_is_still_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
