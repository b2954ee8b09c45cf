#include "tests/helpers/accepted.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/macros.h"

#define ANSWER_SIZE 32768
#define ROOM        4096

/* All in which one side may still send. Where both have ended the kernel waits for the last
 * acknowledgment, however long that takes, and a copy in somebody's queue changes nothing. */
#define STATES \
	(1u << TCP_ESTABLISHED | 1u << TCP_FIN_WAIT1 | 1u << TCP_FIN_WAIT2 | 1u << TCP_CLOSE_WAIT)

void accepted_init(struct accepted *a, int port)
{
	*a = (struct accepted){.port = port};
	a->netlink = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	assert_true(a->netlink >= 0);
}

void accepted_done(struct accepted *a)
{
	close(a->netlink);
	free(a->now.rows);
	free(a->before.rows);
}

static void ask(const struct accepted *a)
{
	struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 body;
	} question = {
		.header = {.nlmsg_len = sizeof(question),
			   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.body = {.sdiag_family = AF_INET,
			 .sdiag_protocol = IPPROTO_TCP,
			 .idiag_states = STATES,
			 .id.idiag_sport = htons((uint16_t)a->port)},
	};

	assert_int_equal(send(a->netlink, &question, sizeof(question), 0), sizeof(question));
}

static void note(struct accepted *a, const struct inet_diag_msg *row)
{
	struct accepted_list *list = &a->now;

	/* Somebody's client may have the same port at another address. */
	if (row->idiag_inode == 0 || row->id.idiag_sport != htons((uint16_t)a->port) ||
	    row->id.idiag_src[0] != htonl(INADDR_LOOPBACK))
		return;
	/* One that had such a state may have another by the time its row is written. */
	if (!(STATES & 1u << row->idiag_state))
		return;
	if (list->count == list->room) {
		list->room += ROOM;
		list->rows = realloc(list->rows, list->room * sizeof(*list->rows));
		assert_non_null(list->rows);
	}
	list->rows[list->count++] = (struct accepted_row){row->idiag_inode, row->idiag_state};
}

/* Returns whether there is more to come. */
static bool receive(struct accepted *a)
{
	_Alignas(struct nlmsghdr) char answer[ANSWER_SIZE];
	ssize_t size = recv(a->netlink, answer, sizeof(answer), 0);
	const struct nlmsghdr *header = (const struct nlmsghdr *)answer;

	assert_true(size > 0);
	for (; NLMSG_OK(header, size); header = NLMSG_NEXT(header, size)) {
		if (header->nlmsg_type == NLMSG_DONE)
			return false;
		assert_int_equal(header->nlmsg_type, SOCK_DIAG_BY_FAMILY);
		note(a, NLMSG_DATA(header));
	}
	return true;
}

static int compare(const void *a, const void *b)
{
	const struct accepted_row *x = a, *y = b;

	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static size_t count_common(struct accepted *accepted)
{
	const struct accepted_list *a = &accepted->now, *b = &accepted->before;
	size_t count = 0;

	memset(accepted->in_state, 0, sizeof(accepted->in_state));
	for (size_t i = 0, j = 0; i < a->count && j < b->count;) {
		int order = compare(&a->rows[i], &b->rows[j]);

		if (order == 0) {
			count++;
			accepted->in_state[a->rows[i].state]++;
		}
		i += order <= 0;
		j += order >= 0;
	}
	return count;
}

static void list(struct accepted *a)
{
	struct accepted_list last = a->before;

	a->before = a->now;
	a->now = last;
	a->now.count = 0;
	ask(a);
	while (receive(a))
		;
	if (a->now.count > 0)
		qsort(a->now.rows, a->now.count, sizeof(*a->now.rows), compare);
}

size_t accepted_at_once(struct accepted *a)
{
	list(a);
	list(a);
	return count_common(a);
}

void accepted_states(const struct accepted *a, char *text, size_t size)
{
	static const char *const names[ACCEPTED_STATES] = {
		[TCP_ESTABLISHED] = "ESTABLISHED",
		[TCP_FIN_WAIT1] = "FIN_WAIT1",
		[TCP_FIN_WAIT2] = "FIN_WAIT2",
		[TCP_CLOSE_WAIT] = "CLOSE_WAIT",
	};
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (a->in_state[i] > 0 && used < size)
			used += (size_t)snprintf(text + used, size - used, "%s%zu %s",
						 used > 0 ? ", " : "", a->in_state[i], names[i]);
}
