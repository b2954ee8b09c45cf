/* Messages of users over a channel: whole, in order, with what goes with them, and answered. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "tests/helpers/fds.h"
#include "tests/helpers/post.h"

/* A byte pattern that no cut leaves as it is. */
static char *pattern(size_t size)
{
	char *data = malloc(size + 1);

	assert_non_null(data);
	for (size_t i = 0; i < size; i++)
		data[i] = (char)(i % 251);
	return data;
}

static void assert_pattern(const struct post_end *end, size_t size)
{
	assert_int_equal(end->size, size);
	for (size_t i = 0; i < size; i++)
		if (end->data[i] != (char)(i % 251))
			fail_msg("byte %zu of %zu is wrong", i, size);
}

/* IP-1, IP-10: nothing happens inside the call. */
static void a_message_comes_and_its_sender_is_told(void **state)
{
	struct post *post = *state;

	assert_int_equal(post_text(&post->a, "hello"), 1);
	assert_string_equal(post->stage->story.text, "");
	post_run_dones(&post->a, 1);
	post_run_messages(&post->b, 1);
	assert_string_equal(post->b.data, "hello");
	assert_int_equal(post_text(&post->b, ""), 1);
	post_run_messages(&post->a, 1);
	assert_true(story_has(&post->stage->story, "A.message:0"));
	assert_int_equal(post->a.status, 0);
}

/* IP-1: with a handle, too. */
static void messages_of_800_kb_arrive_whole(void **state)
{
	struct post *post = *state;
	const size_t size = 800000;
	char *data = pattern(size);
	struct mail_handle handle;

	stage_connected(post->stage);
	handle = (struct mail_handle){.socket = post->stage->guest.socket};
	post->stage->guest.socket = NULL;
	assert_int_equal(post_send(&post->a, data, size, &handle), 0);
	assert_int_equal(post_send(&post->b, data, size, NULL), 0);
	post_run_messages(&post->b, 1);
	post_run_messages(&post->a, 1);
	post_run_dones(&post->a, 1);
	assert_pattern(&post->b, size);
	assert_pattern(&post->a, size);
	assert_true(story_has(&post->stage->story, "B.message:800000+socket"));
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_post(a_message_comes_and_its_sender_is_told),
		on_post(messages_of_800_kb_arrive_whole),
	};

	return cmocka_run_group_tests_name("mail", tests, NULL, NULL);
}
