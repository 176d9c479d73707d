/* The fastest NBD server that bench/nbd_server.py can stand beside: it keeps no data at all.
 *
 * Requests are parsed in bulk, writes are thrown away, reads answer whatever is in the buffer, and
 * all replies of a batch leave in one send. What fio reaches against it is the limit of fio and of
 * the machine: no server can be faster, so a goal above it cannot be met here by anybody.
 *
 *     cc -O2 -o null_server null_server.c && ./null_server SOCKET BYTES
 *
 * Baseline NBD (doc/proto.md): fixed newstyle, GO, simple replies; one client after the other.
 */
#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BUFFER = 4 << 20, FLUSH = 256 << 10, HEADER = 28, GO = 7, READ = 0, WRITE = 1, DISC = 2 };
enum { NEEDED = 2 << 20 }; /* room for the longest request of the benchmark and its header */

static char in[BUFFER], out[BUFFER];

#pragma pack(push, 1)
struct greeting { uint64_t magic, option_magic; uint16_t flags; };
struct option { uint64_t magic; uint32_t number, length; };
struct option_reply { uint64_t magic; uint32_t number, type, length; };
struct export_info { uint16_t type; uint64_t size; uint16_t flags; };
struct request { uint32_t magic; uint16_t flags, command; uint64_t cookie, offset; uint32_t length; };
struct reply { uint32_t magic, error; uint64_t cookie; };
#pragma pack(pop)

static void put(int fd, const void *data, size_t length)
{
    const char *at = data;
    while (length) {
        ssize_t sent = send(fd, at, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* the client is away; recv will say so */
        at += sent;
        length -= sent;
    }
}

static int get(int fd, void *data, size_t length)
{
    /* to receive nothing would wait for something */
    return !length || recv(fd, data, length, MSG_WAITALL) == (ssize_t)length;
}

static void answer(int fd, uint32_t number, uint32_t type, const void *data, uint32_t length)
{
    struct option_reply head = {htobe64(0x3e889045565a9), htobe32(number), htobe32(type),
                                htobe32(length)};
    put(fd, &head, sizeof head);
    put(fd, data, length);
}

static int shake_hands(int fd, uint64_t size)
{
    struct greeting greeting = {htobe64(0x4e42444d41474943), htobe64(0x49484156454F5054),
                                htobe16(3)};
    uint32_t client_flags;
    struct option option;
    put(fd, &greeting, sizeof greeting);
    if (!get(fd, &client_flags, sizeof client_flags))
        return 0;
    while (get(fd, &option, sizeof option)) {
        uint32_t number = be32toh(option.number), length = be32toh(option.length);
        if (length > BUFFER || !get(fd, in, length))
            return 0;
        if (number != GO) {
            answer(fd, number, 0x80000001, "", 0); /* NBD_REP_ERR_UNSUP */
            continue;
        }
        struct export_info info = {0, htobe64(size), htobe16(1 | 4)}; /* flush is offered */
        answer(fd, number, 3, &info, sizeof info);
        answer(fd, number, 1, "", 0);
        return 1;
    }
    return 0;
}

static void serve(int fd)
{
    size_t start = 0, end = 0;
    for (;;) {
        ssize_t received = recv(fd, in + end, BUFFER - end, 0);
        if (received <= 0)
            return;
        end += received;
        char *reply_at = out;
        while (end - start >= HEADER) {
            struct request *request = (struct request *)(in + start);
            uint32_t length = be32toh(request->length);
            uint16_t command = be16toh(request->command);
            size_t whole = HEADER + (command == WRITE ? length : 0);
            if (command == DISC || length > NEEDED - HEADER)
                return;
            if (end - start < whole)
                break;
            struct reply reply = {htobe32(0x67446698), 0, request->cookie};
            memcpy(reply_at, &reply, sizeof reply);
            reply_at += sizeof reply + (command == READ ? length : 0);
            if (reply_at - out > FLUSH) {
                put(fd, out, reply_at - out);
                reply_at = out;
            }
            start += whole;
        }
        put(fd, out, reply_at - out);
        if (BUFFER - end < NEEDED || start == end) {
            memmove(in, in + start, end - start);
            end -= start;
            start = 0;
        }
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listening = socket(AF_UNIX, SOCK_STREAM, 0);
    if (argc != 3 || strlen(argv[1]) >= sizeof address.sun_path)
        return fprintf(stderr, "usage: null_server SOCKET BYTES\n"), 2;
    strcpy(address.sun_path, argv[1]);
    if (bind(listening, (struct sockaddr *)&address, sizeof address) || listen(listening, 5))
        return perror(argv[1]), 1;
    for (;;) {
        int fd = accept(listening, 0, 0);
        if (fd < 0)
            return perror("accept"), 1;
        if (shake_hands(fd, strtoull(argv[2], 0, 0)))
            serve(fd);
        close(fd);
    }
}
