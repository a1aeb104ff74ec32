#!/bin/bash
# setvbuf(stderr, NULL, _IOLBF, BUFSIZ) after something was printed: glibc (2.36, Debian 12) takes no notice of the size, and
# keeps the room for one byte that the stream had without a buffer. It is line-buffered with that: each line is written as its
# first byte and then the rest, so that lines of several processes in one log begin with letters of one another. Before the first
# print, or with a buffer of one's own, a line is one write. Seen on 29 November 2026:
#
#   no buffer:           11 bytes
#   setvbuf, no room:    1 + 10 bytes
#   setvbuf, own room:   11 bytes
#
# Needs gcc. Exits 1 if any of it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >lines.c <<'C'
#define _GNU_SOURCE
#include <gnu/libc-version.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static int end[2]; /* a record for each write() */

static void print_sizes(const char *name)
{
    char record[64];
    printf("%s", name);
    for (ssize_t n, i = 0; (n = recv(end[0], record, sizeof record, MSG_DONTWAIT)) > 0; i++) printf("%s%zd", i ? " + " : "", n);
    printf(" bytes\n");
}

int main(void)
{
    static char room[BUFSIZ];
    printf("glibc %s\n", gnu_get_libc_version());
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, end) || dup2(end[1], STDERR_FILENO) < 0) return 1;
    fprintf(stderr, "eleven byt\n");
    print_sizes("no buffer:           ");
    setvbuf(stderr, NULL, _IOLBF, BUFSIZ);
    fprintf(stderr, "eleven byt\n");
    print_sizes("setvbuf, no room:    ");
    setvbuf(stderr, room, _IOLBF, sizeof room);
    fprintf(stderr, "eleven byt\n");
    print_sizes("setvbuf, own room:   ");
    return 0;
}
C
gcc -o lines lines.c
./lines | tee seen
grep -qx 'setvbuf, no room: *1 + 10 bytes' seen && [ "$(grep -c ' 11 bytes' seen)" = 2 ] || { echo "CHANGED"; exit 1; }
