/* A set of addresses for net_block_list_*() of net.h, made of addresses, ranges and subnets.
 *
 * An IPv4 address and its IPv4-mapped IPv6 address are one, in rules and in what is checked, so
 * that a client of a dual-stack listener does not slip through; zones are left out. Ranges that
 * overlap are merged and kept in order: a check takes the logarithm of their number, adding a rule
 * moves at most all of them.
 *
 * Owns:   the list copies what it is given; whoever checks against it borrows it.
 * Errors: as net.h says; after one the list is as it was.
 * Source: net.BlockList of Node.js; RFC 4291, section 2.5.5.2. */
#ifndef USHER_COMMON_NET_BLOCK_LIST_H
#define USHER_COMMON_NET_BLOCK_LIST_H

#include "common/net/addr.h"

/* Whether the list, which may be NULL, holds the address. Never for a Unix socket. */
bool block_list_check_addr(const struct net_block_list *list, const struct addr *addr);

#endif
