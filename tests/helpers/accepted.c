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
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define ANSWER_SIZE 32768
#define ROOM        4096

/* All in which a process may have a connection. */
#define STATES                                                               \
	(1u << TCP_ESTABLISHED | 1u << TCP_FIN_WAIT1 | 1u << TCP_FIN_WAIT2 | \
	 1u << TCP_CLOSE_WAIT | 1u << TCP_LAST_ACK | 1u << TCP_CLOSING)

void accepted_init(struct accepted *a, int port)
{
	*a = (struct accepted){.port = port};
	a->netlink = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	assert_true(a->netlink >= 0);
}

void accepted_done(struct accepted *a)
{
	close(a->netlink);
	free(a->now.inodes);
	free(a->before.inodes);
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
	if (list->count == list->room) {
		list->room += ROOM;
		list->inodes = realloc(list->inodes, list->room * sizeof(*list->inodes));
		assert_non_null(list->inodes);
	}
	list->inodes[list->count++] = row->idiag_inode;
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
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static size_t count_common(const struct accepted_list *a, const struct accepted_list *b)
{
	size_t count = 0;

	for (size_t i = 0, j = 0; i < a->count && j < b->count;) {
		if (a->inodes[i] == b->inodes[j]) {
			count++;
			i++;
			j++;
		} else if (a->inodes[i] < b->inodes[j]) {
			i++;
		} else {
			j++;
		}
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
		qsort(a->now.inodes, a->now.count, sizeof(*a->now.inodes), compare);
}

size_t accepted_at_once(struct accepted *a)
{
	list(a);
	list(a);
	return count_common(&a->now, &a->before);
}
