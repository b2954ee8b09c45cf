#include "common/net/block_list.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "common/macros.h"
#include "common/net/ip.h"

#define IP_BITS     128
#define MAPPED_BITS 96 /* what an IPv4 address has before its own */
#define MAPPED_SIZE (MAPPED_BITS / 8)

/* Both ends are in it. */
struct range {
	struct ip first;
	struct ip last;
};

enum rule_kind { RULE_ADDRESS, RULE_RANGE, RULE_SUBNET };

/* A rule as it was given. */
struct rule {
	enum rule_kind kind;
	int family;
	struct ip first;
	struct ip last;
	unsigned prefix;
};

struct net_block_list {
	struct range *ranges; /* in order, none overlapping another */
	size_t range_count;
	size_t range_room;
	struct rule *rules;
	size_t rule_count;
	size_t rule_room;
};

int net_block_list_new(struct net_block_list **ret)
{
	struct net_block_list *list = calloc(1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	*ret = list;
	return 0;
}

void net_block_list_free(struct net_block_list *list)
{
	if (!list)
		return;
	free(list->ranges);
	free(list->rules);
	free(list);
}

static int compare(const struct ip *a, const struct ip *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

/* The index of the first range that does not end before ip. */
static size_t find(const struct net_block_list *list, const struct ip *ip)
{
	size_t low = 0, high = list->range_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare(&list->ranges[middle].last, ip) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool contains(const struct net_block_list *list, const struct ip *ip)
{
	size_t i = find(list, ip);

	return i < list->range_count && compare(&list->ranges[i].first, ip) <= 0;
}

/* Makes room for one more element; the array may move. */
static int reserve(void **array, size_t count, size_t *room, size_t element_size)
{
	size_t more = *room ? 2 * *room : 8;
	void *moved;

	if (count < *room)
		return 0;
	moved = reallocarray(*array, more, element_size);
	if (!moved)
		return -ENOMEM;
	*array = moved;
	*room = more;
	return 0;
}

/* Puts one range in place of all those that it overlaps; there is room for it. */
static void merge(struct net_block_list *list, struct range range)
{
	size_t begin = find(list, &range.first), end = begin;

	while (end < list->range_count && compare(&list->ranges[end].first, &range.last) <= 0)
		end++;
	if (begin < end) {
		const struct range *low = &list->ranges[begin], *high = &list->ranges[end - 1];

		range.first = compare(&low->first, &range.first) < 0 ? low->first : range.first;
		range.last = compare(&high->last, &range.last) > 0 ? high->last : range.last;
	}

	memmove(&list->ranges[begin + 1], &list->ranges[end],
		(list->range_count - end) * sizeof(list->ranges[0]));
	list->ranges[begin] = range;
	list->range_count += 1 + begin - end;
}

static int add(struct net_block_list *list, const struct rule *rule, const struct range *range)
{
	int error;

	error = reserve((void **)&list->ranges, list->range_count, &list->range_room,
			sizeof(list->ranges[0]));
	if (error < 0)
		return error;
	error = reserve((void **)&list->rules, list->rule_count, &list->rule_room,
			sizeof(list->rules[0]));
	if (error < 0)
		return error;

	merge(list, *range);
	list->rules[list->rule_count++] = *rule;
	return 0;
}

int net_block_list_add_address(struct net_block_list *list, const char *address)
{
	struct rule rule = {.kind = RULE_ADDRESS};

	rule.family = ip_parse(address, &rule.first);
	if (rule.family == 0)
		return NET_ERR_INVALID_IP_ADDRESS;
	return add(list, &rule, &(struct range){rule.first, rule.first});
}

int net_block_list_add_range(struct net_block_list *list, const char *first, const char *last)
{
	struct rule rule = {.kind = RULE_RANGE};
	int family = ip_parse(last, &rule.last);

	rule.family = ip_parse(first, &rule.first);
	if (rule.family == 0 || family == 0)
		return NET_ERR_INVALID_IP_ADDRESS;
	if (rule.family != family || compare(&rule.first, &rule.last) > 0)
		return NET_ERR_INVALID_ARG_VALUE;
	return add(list, &rule, &(struct range){rule.first, rule.last});
}

/* All addresses that share the first bits with ip. */
static struct range subnet(const struct ip *ip, unsigned bits)
{
	struct range range = {*ip, *ip};

	for (unsigned i = 0; i < sizeof(ip->bytes); i++) {
		unsigned fixed = bits > 8 * i ? bits - 8 * i : 0;
		uint8_t free_bits = fixed >= 8 ? 0 : (uint8_t)(0xff >> fixed);

		range.first.bytes[i] &= (uint8_t)~free_bits;
		range.last.bytes[i] |= free_bits;
	}
	return range;
}

int net_block_list_add_subnet(struct net_block_list *list, const char *network, unsigned prefix)
{
	struct rule rule = {.kind = RULE_SUBNET, .prefix = prefix};
	unsigned before;

	rule.family = ip_parse(network, &rule.first);
	if (rule.family == 0)
		return NET_ERR_INVALID_IP_ADDRESS;

	before = rule.family == 4 ? MAPPED_BITS : 0;
	if (prefix > IP_BITS - before)
		return NET_ERR_OUT_OF_RANGE;

	struct range range = subnet(&rule.first, before + prefix);
	return add(list, &rule, &range);
}

bool net_block_list_check(const struct net_block_list *list, const char *address)
{
	struct ip ip;

	return ip_parse(address, &ip) != 0 && contains(list, &ip);
}

bool block_list_check_addr(const struct net_block_list *list, const struct addr *addr)
{
	struct ip ip = {.bytes = {[10] = 0xff, [11] = 0xff}};

	if (!list)
		return false;

	switch (addr_family(addr)) {
	case 4:
		memcpy(ip.bytes + MAPPED_SIZE, &addr->in.sin_addr, sizeof(addr->in.sin_addr));
		return contains(list, &ip);
	case 6:
		memcpy(ip.bytes, &addr->in6.sin6_addr, sizeof(ip.bytes));
		return contains(list, &ip);
	default:
		return false;
	}
}

static void format_ip(const struct ip *ip, int family, char text[INET6_ADDRSTRLEN])
{
	if (family == 4)
		inet_ntop(AF_INET, ip->bytes + MAPPED_SIZE, text, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, ip->bytes, text, INET6_ADDRSTRLEN);
}

static void format_rule(const struct rule *rule, char *text, size_t size)
{
	char first[INET6_ADDRSTRLEN], last[INET6_ADDRSTRLEN];

	format_ip(&rule->first, rule->family, first);
	switch (rule->kind) {
	case RULE_ADDRESS:
		snprintf(text, size, "Address: IPv%d %s", rule->family, first);
		break;
	case RULE_RANGE:
		format_ip(&rule->last, rule->family, last);
		snprintf(text, size, "Range: IPv%d %s-%s", rule->family, first, last);
		break;
	case RULE_SUBNET:
		snprintf(text, size, "Subnet: IPv%d %s/%u", rule->family, first, rule->prefix);
		break;
	}
}

void net_block_list_rules(const struct net_block_list *list, net_block_list_rule_fn *tell,
			  void *ctx)
{
	char text[sizeof("Address: IPv6 -") + 2 * INET6_ADDRSTRLEN];

	for (size_t i = 0; i < list->rule_count; i++) {
		format_rule(&list->rules[i], text, sizeof(text));
		tell(text, ctx);
	}
}
