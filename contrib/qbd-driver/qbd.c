/*
 * QEMU block driver for qbd volumes
 *
 * Copyright (c) 2026 the qbdcheck authors
 *
 * This work is licensed under the terms of the GNU GPL, version 2 or later.
 * See the COPYING file in the top-level directory.
 */

/*
 * A qbd volume lives on a backend that listens on two Unix sockets: one for
 * requests, one for control.  This driver opens one connection for requests
 * and keeps many requests in flight on it.  The requests are those of the NBD
 * protocol (its transmission phase, with structured replies); the control
 * socket speaks QMP.
 *
 * The file is also a template: it has every callback that a network block
 * driver needs, and the comment above each callback says what QEMU demands of
 * it.  The demands come from QEMU's include/block/block_int-common.h (struct
 * BlockDriver), block.c and block/io.c.
 *
 * How a request travels:
 *
 *   qbd_co_preadv -> qbd_co_request      waits for a slot, tries again after a
 *                                        lost connection
 *                 -> qbd_co_send         one sender at a time (send_lock)
 *                 -> qbd_co_wait         one of the waiting requests reads the
 *                                        socket, for all of them
 *
 * There is no background coroutine that reads.  So nothing has to be stopped
 * for a drain or a change of the AioContext: without a request in flight,
 * nobody uses the socket.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/coroutine.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/iov.h"
#include "qemu/lockable.h"
#include "qemu/module.h"
#include "qemu/option.h"
#include "qemu/queue.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "block/block_int.h"
#include "block/block-io.h"
#include "io/channel-socket.h"

/* QEMU's API for drivers changes from version to version. */
#define QEMU_AT_LEAST(major, minor) \
    (QEMU_VERSION_MAJOR > (major) || \
     (QEMU_VERSION_MAJOR == (major) && QEMU_VERSION_MINOR >= (minor)))

/*
 * Annotations that 7.2 does not have: who holds the graph lock, and functions
 * that work in coroutines and outside.
 */
#ifndef GRAPH_RDLOCK
#define GRAPH_RDLOCK
#define GRAPH_UNLOCKED
#endif
#ifndef coroutine_mixed_fn
#define coroutine_mixed_fn
#endif
#if !QEMU_AT_LEAST(10, 0)
#include "qapi/qmp/qdict.h"
#include "qapi/qmp/qjson.h"
#include "qapi/qmp/qlist.h"
#include "qapi/qmp/qstring.h"
#else
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "qobject/qstring.h"
#endif

#define QBD_DEFAULT_CONF        "/etc/qbd/qbd.conf"
#define QBD_DEFAULT_RECONNECT   5           /* seconds */
#define QBD_RETRY_NS            (100 * SCALE_MS)
#define QBD_MAX_IN_FLIGHT       64
#define QBD_MAX_LOGICAL_BLOCK   4096
#define QBD_MAX_MESSAGE         4096        /* longest text of an error */
#define QBD_MAX_LINE            (16 * MiB)  /* longest line of the control */
#define QBD_INLINE_IOV          16

/* Numbers of the NBD protocol (doc/proto.md of the NBD project). */
#define NBD_GREETING_MAGIC      0x4e42444d41474943ULL   /* NBDMAGIC */
#define NBD_OPTION_MAGIC        0x49484156454f5054ULL   /* IHAVEOPT */
#define NBD_OPTION_REPLY_MAGIC  0x0003e889045565a9ULL
#define NBD_REQUEST_MAGIC       0x25609513U
#define NBD_SIMPLE_MAGIC        0x67446698U
#define NBD_STRUCTURED_MAGIC    0x668e33efU

#define NBD_FIXED_NEWSTYLE      (1 << 0)
#define NBD_NO_ZEROES           (1 << 1)

enum {
    NBD_OPT_GO                  = 7,
    NBD_OPT_STRUCTURED_REPLY    = 8,
    NBD_OPT_SET_META_CONTEXT    = 10,
};

#define NBD_REP_ACK             1U
#define NBD_REP_INFO            3U
#define NBD_REP_META_CONTEXT    4U
#define NBD_REP_IS_ERROR        0x80000000U
#define NBD_REP_ERR_UNKNOWN     0x80000006U

enum {
    NBD_INFO_EXPORT             = 0,
    NBD_INFO_BLOCK_SIZE         = 3,
};

enum {                                      /* what the export can do */
    NBD_READ_ONLY               = 1 << 1,
    NBD_SEND_FLUSH              = 1 << 2,
    NBD_SEND_FUA                = 1 << 3,
    NBD_SEND_TRIM               = 1 << 5,
    NBD_SEND_WRITE_ZEROES       = 1 << 6,
    NBD_SEND_FAST_ZERO          = 1 << 11,
};

enum {
    NBD_CMD_READ                = 0,
    NBD_CMD_WRITE               = 1,
    NBD_CMD_DISC                = 2,
    NBD_CMD_FLUSH               = 3,
    NBD_CMD_TRIM                = 4,
    NBD_CMD_WRITE_ZEROES        = 6,
    NBD_CMD_BLOCK_STATUS        = 7,
};

enum {                                      /* flags of a request */
    NBD_FLAG_FUA                = 1 << 0,
    NBD_FLAG_NO_HOLE            = 1 << 1,
    NBD_FLAG_REQ_ONE            = 1 << 3,
    NBD_FLAG_FAST_ZERO          = 1 << 4,
};

enum {                                      /* types of reply chunks */
    NBD_CHUNK_NONE              = 0,
    NBD_CHUNK_DATA              = 1,
    NBD_CHUNK_HOLE              = 2,
    NBD_CHUNK_STATUS            = 5,
    NBD_CHUNK_IS_ERROR          = 1 << 15,
};

#define NBD_CHUNK_DONE          (1 << 0)
#define NBD_STATE_HOLE          (1 << 0)
#define NBD_STATE_ZERO          (1 << 1)

typedef struct QEMU_PACKED QBDRequestHeader {
    uint32_t magic;
    uint16_t flags;
    uint16_t type;
    uint64_t cookie;
    uint64_t offset;
    uint32_t bytes;
} QBDRequestHeader;

typedef struct QBDRequest {
    uint16_t type;
    uint16_t flags;
    int64_t offset;
    int64_t bytes;
    QEMUIOVector *qiov;         /* READ: is filled; WRITE: is sent; or NULL */

    uint64_t cookie;
    uint64_t received;          /* bytes of qiov that replies have filled */
    uint32_t extent_bytes;      /* BLOCK_STATUS: first extent, */
    uint32_t extent_state;      /* NBD_STATE_ */

    int ret;                    /* -errno, or QBD_LOST */
    bool done;                  /* @ret is final */
    CoQueue wake;               /* the coroutine of this request, if it waits */
    QTAILQ_ENTRY(QBDRequest) next;
} QBDRequest;

#if QEMU_AT_LEAST(10, 1)
typedef unsigned int QBDStatusMode;     /* BDRV_WANT_ flags */
#else
typedef bool QBDStatusMode;             /* want_zero */
#endif

/* The connection ended before the reply.  Never leaves this file. */
#define QBD_LOST                (-EPIPE)

/* What the backend says about the volume when it is opened. */
typedef struct QBDExport {
    int64_t size;               /* in bytes */
    uint16_t flags;
    uint32_t min_block;
    uint32_t preferred_block;
    uint32_t max_block;
    bool structured;            /* replies are structured */
    bool has_status;
    uint32_t status_context;
} QBDExport;

typedef struct BDRVQBDState {
    /* Set by qbd_open, constant afterwards. */
    char *pool;
    char *image;
    char *snapshot;             /* or NULL */
    char *conf;                 /* as the user gave it, or NULL */
    char *socket;
    char *control;              /* or NULL */
    int64_t reconnect_ns;
    uint32_t logical_block_size;    /* 0: what the volume says */
    uint32_t physical_block_size;

    /*
     * The connection.  Replaced under connect_lock, while no request is in
     * flight; so a request in flight can use it without a lock.
     */
    QIOChannelSocket *ioc;
    CoMutex connect_lock;
    CoMutex send_lock;          /* requests must not mix on the socket */
    CoMutex grow_lock;
    QBDExport export;

    /*
     * Since 9.0 the requests of one node can come from several threads, so
     * what follows is protected by @lock.  It is not held across a yield.
     */
    QemuMutex lock;
    bool connected;
    bool receiving;             /* a request reads the socket */
    uint64_t next_cookie;
    unsigned in_flight;
    QTAILQ_HEAD(, QBDRequest) requests;
    CoQueue slots;              /* requests that wait for a slot */
    CoQueue idle;               /* qbd_co_reconnect waits for in_flight == 0 */
    int64_t size;               /* of the volume, also after it has grown */

    /*
     * Acknowledged writes may be in the backend's volatile cache.  If the
     * connection is lost, the backend may have restarted without them, and a
     * flush on the new connection would say nothing about them.
     */
    uint64_t writes;            /* completed without FUA */
    uint64_t flushed_writes;    /* of these, how many a flush has covered */
    bool writes_lost;           /* the next flush must fail */
} BDRVQBDState;

static BlockDriver bdrv_qbd;

/* ------------------------------------------------------------------------ */
/* File names and options                                                   */

static QemuOptsList qbd_runtime_opts = {
    .name = "qbd",
    .head = QTAILQ_HEAD_INITIALIZER(qbd_runtime_opts.head),
    .desc = {
        {
            .name = "pool",
            .type = QEMU_OPT_STRING,
            .help = "Pool of the volume",
        }, {
            .name = "image",
            .type = QEMU_OPT_STRING,
            .help = "Name of the volume in the pool",
        }, {
            .name = "snapshot",
            .type = QEMU_OPT_STRING,
            .help = "Name of a snapshot of the volume",
        }, {
            .name = "conf",
            .type = QEMU_OPT_STRING,
            .help = "Configuration file with the addresses of the backend",
        }, {
            .name = "logical_block_size",
            .type = QEMU_OPT_SIZE,
            .help = "Logical block size that guests see",
        }, {
            .name = "physical_block_size",
            .type = QEMU_OPT_SIZE,
            .help = "Physical block size that guests see",
        },
        { /* end of list */ }
    },
};

/*
 * strong_runtime_opts: the options that decide which data the node has.  QEMU
 * puts them into the json: file name of a node whose plain file name would not
 * lead back to the same data.
 */
static const char *const qbd_strong_runtime_opts[] = {
    "pool", "image", "snapshot", "conf", NULL
};

/*
 * Cut the next part off *@text, up to an unescaped @separator.  A backslash
 * makes the next character literal.  *@text becomes NULL after the last part.
 */
static char *qbd_next_part(const char **text, char separator)
{
    GString *part = g_string_new(NULL);
    const char *p = *text;

    while (*p && *p != separator) {
        if (*p == '\\' && p[1]) {
            p++;
        }
        g_string_append_c(part, *p++);
    }
    *text = *p ? p + 1 : NULL;
    return g_string_free(part, false);
}

/* As qbd_next_part, but leave the escapes in the part. */
static char *qbd_next_raw_part(const char **text, char separator)
{
    const char *start = *text;
    const char *p = start;

    while (*p && *p != separator) {
        p += (*p == '\\' && p[1]) ? 2 : 1;
    }
    *text = *p ? p + 1 : NULL;
    return g_strndup(start, p - start);
}

/*
 * bdrv_parse_filename: turn qbd:pool/image[@snapshot][:key=value...] into
 * options.
 *
 * QEMU calls it if a user gave a file name, before it opens the node; @options
 * has what else the user said.  The driver puts options under the names that
 * its bdrv_open reads, all as strings.  On a mistake it sets @errp with a
 * message for that user.  QEMU itself removes "filename" if the driver has
 * .bdrv_needs_filename == false.
 */
static void qbd_parse_filename(const char *filename, QDict *options,
                               Error **errp)
{
    const char *rest;
    const char *name;
    g_autofree char *raw_name = NULL;
    g_autofree char *raw_volume = NULL;
    g_autofree char *pool = NULL;

    if (!strstart(filename, "qbd:", &rest)) {
        error_setg(errp, "File name must start with 'qbd:'");
        return;
    }

    raw_name = qbd_next_raw_part(&rest, ':');
    name = raw_name;
    raw_volume = qbd_next_raw_part(&name, '@');
    if (name) {
        g_autofree char *snapshot = qbd_next_part(&name, '\0');

        if (!*snapshot) {
            error_setg(errp, "Snapshot name is required");
            return;
        }
        qdict_put_str(options, "snapshot", snapshot);
    }

    name = raw_volume;
    pool = qbd_next_part(&name, '/');
    if (!*pool || !name) {
        error_setg(errp, "Pool name is required");
        return;
    }
    qdict_put_str(options, "pool", pool);
    {
        g_autofree char *image = qbd_next_part(&name, '\0');

        if (!*image) {
            error_setg(errp, "Volume name is required");
            return;
        }
        qdict_put_str(options, "image", image);
    }

    while (rest) {
        g_autofree char *raw_pair = qbd_next_raw_part(&rest, ':');
        const char *pair = raw_pair;
        g_autofree char *key = qbd_next_part(&pair, '=');
        g_autofree char *value = NULL;

        if (!pair) {
            error_setg(errp, "Option '%s' needs a value: key=value", key);
            return;
        }
        value = qbd_next_part(&pair, '\0');
        if (strcmp(key, "conf") && strcmp(key, "logical_block_size") &&
            strcmp(key, "physical_block_size")) {
            error_setg(errp, "Unknown option '%s', known are conf, "
                       "logical_block_size, physical_block_size", key);
            return;
        }
        qdict_put_str(options, key, value);
    }
}

static void qbd_append_escaped(GString *name, const char *text)
{
    for (; *text; text++) {
        if (strchr("\\:@/=", *text)) {
            g_string_append_c(name, '\\');
        }
        g_string_append_c(name, *text);
    }
}

/*
 * bdrv_refresh_filename: set bs->exact_filename to a file name that opens the
 * same data, or leave it empty.
 *
 * Tools show it, and QEMU writes it into images as the name of their backing
 * file.  So it must be complete: everything that decides about the data.
 */
static void GRAPH_RDLOCK qbd_refresh_filename(BlockDriverState *bs)
{
    BDRVQBDState *s = bs->opaque;
    g_autoptr(GString) name = g_string_new("qbd:");

    qbd_append_escaped(name, s->pool);
    g_string_append_c(name, '/');
    for (const char *p = s->image; *p; p++) {   /* '/' is no separator here */
        if (strchr("\\:@", *p)) {
            g_string_append_c(name, '\\');
        }
        g_string_append_c(name, *p);
    }
    if (s->snapshot) {
        g_string_append_c(name, '@');
        qbd_append_escaped(name, s->snapshot);
    }
    if (s->conf) {
        g_string_append(name, ":conf=");
        for (const char *p = s->conf; *p; p++) {
            if (strchr("\\:", *p)) {
                g_string_append_c(name, '\\');
            }
            g_string_append_c(name, *p);
        }
    }
    if (name->len < sizeof(bs->exact_filename)) {
        pstrcpy(bs->exact_filename, sizeof(bs->exact_filename), name->str);
    }
}

/*
 * Read the configuration file:
 *
 *   [qbd]
 *   socket = /run/qbd/data
 *   control = /run/qbd/control
 *   reconnect = 5
 */
static int qbd_read_conf(BDRVQBDState *s, const char *conf, Error **errp)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autoptr(GError) gerr = NULL;
    const char *path = conf ?: getenv("QBD_CONF") ?: QBD_DEFAULT_CONF;
    int seconds = QBD_DEFAULT_RECONNECT;

    if (!g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, &gerr)) {
        error_setg(errp, "Cannot read %s: %s", path, gerr->message);
        return -EINVAL;
    }
    s->socket = g_key_file_get_string(file, "qbd", "socket", NULL);
    s->control = g_key_file_get_string(file, "qbd", "control", NULL);
    if (g_key_file_has_key(file, "qbd", "reconnect", NULL)) {
        seconds = g_key_file_get_integer(file, "qbd", "reconnect", &gerr);
    }
    if (gerr || seconds < 0) {
        error_setg(errp, "%s: reconnect is not a number of seconds", path);
        return -EINVAL;
    }
    if (!s->socket) {
        error_setg(errp, "%s has no key 'socket' in the group 'qbd'", path);
        return -EINVAL;
    }
    s->reconnect_ns = seconds * NANOSECONDS_PER_SECOND;
    return 0;
}

static bool qbd_is_block_size(uint64_t size)
{
    return size == 0 || (size >= BDRV_SECTOR_SIZE && size <= 2 * MiB &&
                         is_power_of_2(size));
}

/* Set the part of the state that comes from options. */
static int qbd_read_options(BDRVQBDState *s, QDict *options, Error **errp)
{
    QemuOpts *opts = qemu_opts_create(&qbd_runtime_opts, NULL, 0,
                                      &error_abort);
    uint64_t logical, physical;
    int ret = -EINVAL;

    /* Takes the options out of @options: QEMU reports what is left there. */
    if (!qemu_opts_absorb_qdict(opts, options, errp)) {
        goto out;
    }
    s->pool = g_strdup(qemu_opt_get(opts, "pool"));
    s->image = g_strdup(qemu_opt_get(opts, "image"));
    s->snapshot = g_strdup(qemu_opt_get(opts, "snapshot"));
    s->conf = g_strdup(qemu_opt_get(opts, "conf"));
    if (!s->pool || !s->image) {
        error_setg(errp, "qbd requires the options 'pool' and 'image'");
        goto out;
    }
    logical = qemu_opt_get_size(opts, "logical_block_size", 0);
    physical = qemu_opt_get_size(opts, "physical_block_size", 0);
    if (!qbd_is_block_size(logical) || !qbd_is_block_size(physical)) {
        error_setg(errp, "A block size must be a power of 2 from 512 to 2M");
        goto out;
    }
    s->logical_block_size = logical;
    s->physical_block_size = physical;
    ret = qbd_read_conf(s, s->conf, errp);
out:
    qemu_opts_del(opts);
    return ret;
}

static void qbd_free_options(BDRVQBDState *s)
{
    g_free(s->pool);
    g_free(s->image);
    g_free(s->snapshot);
    g_free(s->conf);
    g_free(s->socket);
    g_free(s->control);
}

/* ------------------------------------------------------------------------ */
/* Sockets                                                                  */

static void qbd_attach_channel(QIOChannelSocket *ioc, AioContext *context)
{
#if !QEMU_AT_LEAST(8, 2)
    qio_channel_attach_aio_context(QIO_CHANNEL(ioc), context);
#else
    /* A coroutine waits in its own AioContext; nothing is to be attached. */
    qio_channel_set_follow_coroutine_ctx(QIO_CHANNEL(ioc), true);
#endif
}

static void qbd_detach_channel(QIOChannelSocket *ioc)
{
#if !QEMU_AT_LEAST(8, 2)
    qio_channel_detach_aio_context(QIO_CHANNEL(ioc));
#endif
}

/*
 * Connect to a Unix socket.  The channel is non-blocking: a read or write in a
 * coroutine yields, and elsewhere it polls.
 */
static QIOChannelSocket *qbd_open_channel(const char *path,
                                          AioContext *context, Error **errp)
{
    QIOChannelSocket *ioc = qio_channel_socket_new();
    SocketAddress address = {
        .type = SOCKET_ADDRESS_TYPE_UNIX,
        .u.q_unix.path = (char *)path,
    };

    if (qio_channel_socket_connect_sync(ioc, &address, errp) < 0) {
        object_unref(OBJECT(ioc));
        return NULL;
    }
    qio_channel_set_blocking(QIO_CHANNEL(ioc), false, NULL);
    qbd_attach_channel(ioc, context);
    return ioc;
}

static void qbd_close_channel(QIOChannelSocket *ioc)
{
    qio_channel_shutdown(QIO_CHANNEL(ioc), QIO_CHANNEL_SHUTDOWN_BOTH, NULL);
    qbd_detach_channel(ioc);
    qio_channel_close(QIO_CHANNEL(ioc), NULL);
    object_unref(OBJECT(ioc));
}

static int coroutine_mixed_fn qbd_read(QIOChannelSocket *ioc, void *buffer,
                                       size_t bytes, Error **errp)
{
    return qio_channel_read_all(QIO_CHANNEL(ioc), buffer, bytes, errp);
}

static int coroutine_mixed_fn qbd_write(QIOChannelSocket *ioc,
                                        const void *buffer, size_t bytes,
                                        Error **errp)
{
    return qio_channel_write_all(QIO_CHANNEL(ioc), buffer, bytes, errp);
}

/* Read @bytes and throw them away. */
static int coroutine_mixed_fn qbd_skip(QIOChannelSocket *ioc, uint64_t bytes,
                                       Error **errp)
{
    char buffer[512];

    while (bytes) {
        size_t part = MIN(bytes, sizeof(buffer));

        if (qbd_read(ioc, buffer, part, errp) < 0) {
            return -1;
        }
        bytes -= part;
    }
    return 0;
}

/* ------------------------------------------------------------------------ */
/* The control socket                                                       */

/* Read one line, without its end.  Return NULL on an error. */
static char *coroutine_mixed_fn qbd_read_line(QIOChannelSocket *ioc,
                                              Error **errp)
{
    g_autoptr(GString) line = g_string_new(NULL);
    char c;

    while (line->len < QBD_MAX_LINE) {
        if (qbd_read(ioc, &c, 1, errp) < 0) {
            return NULL;
        }
        if (c == '\n') {
            return g_string_free(g_steal_pointer(&line), false);
        }
        g_string_append_c(line, c);
    }
    error_setg(errp, "The control socket sent a line without an end");
    return NULL;
}

/*
 * Send a command and return its answer, or NULL on an error.  Events that come
 * in between are skipped.
 */
static QDict *coroutine_mixed_fn qbd_execute_on(QIOChannelSocket *ioc,
                                                const char *command,
                                                QDict *arguments,
                                                Error **errp)
{
    QDict *request = qdict_new();
    GString *text;
    int ret;

    qdict_put_str(request, "execute", command);
    if (arguments) {
        qdict_put(request, "arguments", qobject_ref(arguments));
    }
    text = qobject_to_json(QOBJECT(request));
    g_string_append_c(text, '\n');
    qobject_unref(request);
    ret = qbd_write(ioc, text->str, text->len, errp);
    g_string_free(text, true);
    if (ret < 0) {
        return NULL;
    }

    for (;;) {
        g_autofree char *line = qbd_read_line(ioc, errp);
        QObject *object = line ? qobject_from_json(line, errp) : NULL;
        QDict *answer = qobject_to(QDict, object);

        if (!answer) {
            if (object) {
                error_setg(errp, "The control socket sent no object");
                qobject_unref(object);
            }
            return NULL;
        }
        if (qdict_haskey(answer, "error")) {
            QDict *error = qdict_get_qdict(answer, "error");
            const char *text = error ? qdict_get_try_str(error, "desc") : NULL;

            error_setg(errp, "%s: %s", command, text ?: "unknown error");
            qobject_unref(answer);
            return NULL;
        }
        if (qdict_haskey(answer, "return")) {
            return answer;
        }
        qobject_unref(answer);
    }
}

/*
 * Run one command on the control socket.  Return the answer, which has the
 * member "return", or NULL on an error.  Takes over @arguments.
 */
static QDict *coroutine_mixed_fn qbd_execute(BDRVQBDState *s,
                                             const char *command,
                                             QDict *arguments, Error **errp)
{
    QIOChannelSocket *ioc = NULL;
    QDict *answer = NULL;
    g_autofree char *greeting = NULL;

    if (!s->control) {
        error_setg(errp, "The configuration has no key 'control'");
        goto out;
    }
    ioc = qbd_open_channel(s->control, qemu_get_current_aio_context(), errp);
    if (!ioc) {
        goto out;
    }
    greeting = qbd_read_line(ioc, errp);
    if (!greeting) {
        goto out;
    }
    answer = qbd_execute_on(ioc, "qmp_capabilities", NULL, errp);
    if (answer) {
        qobject_unref(answer);
        answer = qbd_execute_on(ioc, command, arguments, errp);
    }
out:
    if (ioc) {
        qbd_close_channel(ioc);
    }
    qobject_unref(arguments);
    return answer;
}

/* Run a command whose answer has no data.  Return 0 or -EIO. */
static int coroutine_mixed_fn qbd_command(BDRVQBDState *s, const char *command,
                                          QDict *arguments, Error **errp)
{
    QDict *answer = qbd_execute(s, command, arguments, errp);

    if (!answer) {
        return -EIO;
    }
    qobject_unref(answer);
    return 0;
}

static char *qbd_volume_name(BDRVQBDState *s)
{
    return g_strdup_printf("%s/%s", s->pool, s->image);
}

/*
 * Ask for the description of the volume.  Return the answer with *@volume in
 * it; *@volume is NULL if there is no such volume.  NULL on an error.
 */
static QDict *coroutine_mixed_fn qbd_query(BDRVQBDState *s, QDict **volume,
                                           Error **errp)
{
    g_autofree char *name = qbd_volume_name(s);
    QDict *answer = qbd_execute(s, "query-volumes", NULL, errp);
    QList *list = answer ? qdict_get_qlist(answer, "return") : NULL;
    QListEntry *entry;

    *volume = NULL;
    if (list) {
        QLIST_FOREACH_ENTRY(list, entry) {
            QDict *one = qobject_to(QDict, qlist_entry_obj(entry));

            if (one && !g_strcmp0(qdict_get_try_str(one, "name"), name)) {
                *volume = one;
            }
        }
    }
    return answer;
}

static int coroutine_mixed_fn qbd_set_size(BDRVQBDState *s, int64_t size,
                                           Error **errp)
{
    g_autofree char *name = qbd_volume_name(s);
    QDict *arguments = qdict_new();

    qdict_put_str(arguments, "name", name);
    qdict_put_int(arguments, "size", size);
    return qbd_command(s, "volume-resize", arguments, errp);
}

/* ------------------------------------------------------------------------ */
/* Connection                                                               */

static int coroutine_mixed_fn qbd_send_option(QIOChannelSocket *ioc,
                                              uint32_t option,
                                              GByteArray *data, Error **errp)
{
    uint8_t header[16];

    stq_be_p(header, NBD_OPTION_MAGIC);
    stl_be_p(header + 8, option);
    stl_be_p(header + 12, data ? data->len : 0);
    if (qbd_write(ioc, header, sizeof(header), errp) < 0) {
        return -1;
    }
    return data ? qbd_write(ioc, data->data, data->len, errp) : 0;
}

/* Read one reply to an option.  Return its type, or 0 on an error. */
static uint32_t coroutine_mixed_fn qbd_read_option_reply(QIOChannelSocket *ioc,
                                                         uint32_t option,
                                                         GByteArray *data,
                                                         Error **errp)
{
    uint8_t header[20];
    uint32_t bytes;

    if (qbd_read(ioc, header, sizeof(header), errp) < 0) {
        return 0;
    }
    bytes = ldl_be_p(header + 16);
    if (ldq_be_p(header) != NBD_OPTION_REPLY_MAGIC ||
        ldl_be_p(header + 8) != option || bytes > QBD_MAX_MESSAGE * 2) {
        error_setg(errp, "The backend sent a malformed reply to option %u",
                   option);
        return 0;
    }
    g_byte_array_set_size(data, bytes);
    if (qbd_read(ioc, data->data, bytes, errp) < 0) {
        return 0;
    }
    return ldl_be_p(header + 12);
}

static void qbd_append_be16(GByteArray *data, uint16_t value)
{
    value = cpu_to_be16(value);
    g_byte_array_append(data, (void *)&value, sizeof(value));
}

static void qbd_append_string(GByteArray *data, const char *text)
{
    uint32_t bytes = cpu_to_be32(strlen(text));

    g_byte_array_append(data, (void *)&bytes, sizeof(bytes));
    g_byte_array_append(data, (const uint8_t *)text, strlen(text));
}

/* Agree on structured replies, which block status requires. */
static int coroutine_mixed_fn qbd_agree_structured(QBDExport *export,
                                                   QIOChannelSocket *ioc,
                                                   Error **errp)
{
    g_autoptr(GByteArray) data = g_byte_array_new();
    uint32_t reply;

    if (qbd_send_option(ioc, NBD_OPT_STRUCTURED_REPLY, NULL, errp) < 0) {
        return -1;
    }
    reply = qbd_read_option_reply(ioc, NBD_OPT_STRUCTURED_REPLY, data, errp);
    export->structured = reply == NBD_REP_ACK;
    return reply ? 0 : -1;
}

/* Agree on the metadata context of block status. */
static int coroutine_mixed_fn qbd_agree_status(QBDExport *export,
                                               QIOChannelSocket *ioc,
                                               const char *name,
                                               Error **errp)
{
    g_autoptr(GByteArray) data = g_byte_array_new();
    uint32_t queries = cpu_to_be32(1);
    uint32_t reply;

    qbd_append_string(data, name);
    g_byte_array_append(data, (void *)&queries, sizeof(queries));
    qbd_append_string(data, "base:allocation");
    if (qbd_send_option(ioc, NBD_OPT_SET_META_CONTEXT, data, errp) < 0) {
        return -1;
    }
    export->has_status = false;
    do {
        reply = qbd_read_option_reply(ioc, NBD_OPT_SET_META_CONTEXT, data,
                                      errp);
        if (!reply) {
            return -1;
        }
        if (reply == NBD_REP_META_CONTEXT && data->len >= 4) {
            export->status_context = ldl_be_p(data->data);
            export->has_status = true;
        }
    } while (reply == NBD_REP_META_CONTEXT);
    return 0;
}

static void qbd_take_info(QBDExport *export, GByteArray *data)
{
    uint16_t type = data->len >= 2 ? lduw_be_p(data->data) : UINT16_MAX;

    if (type == NBD_INFO_EXPORT && data->len == 12) {
        export->size = ldq_be_p(data->data + 2);
        export->flags = lduw_be_p(data->data + 10);
    } else if (type == NBD_INFO_BLOCK_SIZE && data->len == 14) {
        export->min_block = ldl_be_p(data->data + 2);
        export->preferred_block = ldl_be_p(data->data + 6);
        export->max_block = ldl_be_p(data->data + 10);
    }
}

/* Choose the volume.  The transmission phase follows. */
static int coroutine_mixed_fn qbd_go(QBDExport *export, QIOChannelSocket *ioc,
                                     const char *name, Error **errp)
{
    g_autoptr(GByteArray) data = g_byte_array_new();
    uint32_t reply;

    export->size = -1;
    export->min_block = 1;
    export->preferred_block = 4096;
    export->max_block = 32 * MiB;

    qbd_append_string(data, name);
    qbd_append_be16(data, 1);
    qbd_append_be16(data, NBD_INFO_BLOCK_SIZE);
    if (qbd_send_option(ioc, NBD_OPT_GO, data, errp) < 0) {
        return -EIO;
    }
    do {
        reply = qbd_read_option_reply(ioc, NBD_OPT_GO, data, errp);
        if (!reply) {
            return -EIO;
        }
        if (reply == NBD_REP_INFO) {
            qbd_take_info(export, data);
        }
    } while (reply == NBD_REP_INFO);

    if (reply & NBD_REP_IS_ERROR) {
        error_setg(errp, "The backend refuses volume %s: %.*s", name,
                   (int)data->len, (const char *)data->data);
        return reply == NBD_REP_ERR_UNKNOWN ? -ENOENT : -EIO;
    }
    if (reply != NBD_REP_ACK || export->size < 0 ||
        !is_power_of_2(export->min_block)) {
        error_setg(errp, "The backend's description of volume %s is wrong",
                   name);
        return -EINVAL;
    }
    return 0;
}

static int coroutine_mixed_fn qbd_negotiate(BDRVQBDState *s,
                                            QBDExport *export,
                                            QIOChannelSocket *ioc,
                                            Error **errp)
{
    g_autofree char *name =
        g_strdup_printf("%s/%s%s%s", s->pool, s->image,
                        s->snapshot ? "@" : "", s->snapshot ?: "");
    uint8_t greeting[18];
    uint8_t flags[4];

    if (qbd_read(ioc, greeting, sizeof(greeting), errp) < 0) {
        return -EIO;
    }
    if (ldq_be_p(greeting) != NBD_GREETING_MAGIC ||
        ldq_be_p(greeting + 8) != NBD_OPTION_MAGIC ||
        !(lduw_be_p(greeting + 16) & NBD_FIXED_NEWSTYLE)) {
        error_setg(errp, "%s is not the socket of a qbd backend", s->socket);
        return -EINVAL;
    }
    stl_be_p(flags, (NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES) &
                    lduw_be_p(greeting + 16));
    if (qbd_write(ioc, flags, sizeof(flags), errp) < 0 ||
        qbd_agree_structured(export, ioc, errp) < 0) {
        return -EIO;
    }
    export->has_status = false;
    if (export->structured && qbd_agree_status(export, ioc, name, errp) < 0) {
        return -EIO;
    }
    return qbd_go(export, ioc, name, errp);
}

/* Open the connection.  No request is in flight. */
static int coroutine_mixed_fn qbd_connect(BlockDriverState *bs, Error **errp)
{
    BDRVQBDState *s = bs->opaque;
    QBDExport export = { 0 };
    QIOChannelSocket *ioc;
    int ret;

    ioc = qbd_open_channel(s->socket, bdrv_get_aio_context(bs), errp);
    if (!ioc) {
        return -ECONNREFUSED;
    }
    ret = qbd_negotiate(s, &export, ioc, errp);
    if (ret < 0) {
        qbd_close_channel(ioc);
        return ret;
    }
    /* Only now: what a failed attempt has heard must not change the node. */
    s->ioc = ioc;
    s->export = export;
    WITH_QEMU_LOCK_GUARD(&s->lock) {
        s->connected = true;
        s->size = export.size;
        if (s->writes != s->flushed_writes) {
            s->writes_lost = true;
            s->flushed_writes = s->writes;
        }
    }
    return 0;
}

static void qbd_disconnect(BDRVQBDState *s)
{
    if (s->ioc) {
        qbd_close_channel(s->ioc);
        s->ioc = NULL;
    }
}

/* Connect again, unless another request has done so in the meantime. */
static int coroutine_fn qbd_co_reconnect(BlockDriverState *bs)
{
    BDRVQBDState *s = bs->opaque;
    Error *local_err = NULL;
    int ret = 0;

    qemu_co_mutex_lock(&s->connect_lock);
    if (!s->connected) {
        qemu_mutex_lock(&s->lock);
        while (s->in_flight) {
            qemu_co_queue_wait(&s->idle, &s->lock);
        }
        qemu_mutex_unlock(&s->lock);

        qbd_disconnect(s);
        ret = qbd_connect(bs, &local_err);
        if (ret < 0) {
            error_free(local_err);
        }
    }
    qemu_co_mutex_unlock(&s->connect_lock);
    return ret;
}

/* ------------------------------------------------------------------------ */
/* Requests                                                                 */

static int qbd_errno(uint32_t error)
{
    switch (error) {
    case 0:
        return 0;
    case 1:
        return -EPERM;
    case 5:
        return -EIO;
    case 12:
        return -ENOMEM;
    case 28:
        return -ENOSPC;
    case 75:
        return -EOVERFLOW;
    case 95:
        return -ENOTSUP;
    case 108:
        return -ESHUTDOWN;
    default:
        return -EINVAL;
    }
}

static int coroutine_fn qbd_co_send(BDRVQBDState *s, QBDRequest *req)
{
    QBDRequestHeader header = {
        .magic = cpu_to_be32(NBD_REQUEST_MAGIC),
        .flags = cpu_to_be16(req->flags),
        .type = cpu_to_be16(req->type),
        .cookie = cpu_to_be64(req->cookie),
        .offset = cpu_to_be64(req->offset),
        .bytes = cpu_to_be32(req->bytes),
    };
    QEMUIOVector *payload = req->type == NBD_CMD_WRITE ? req->qiov : NULL;
    struct iovec iov[1 + QBD_INLINE_IOV];
    int niov = 1;
    int ret;

    iov[0] = (struct iovec) { &header, sizeof(header) };
    /* A vector can have up to IOV_MAX parts, and sendmsg() takes no more. */
    if (payload && payload->niov <= QBD_INLINE_IOV) {
        memcpy(&iov[1], payload->iov, payload->niov * sizeof(iov[0]));
        niov += payload->niov;
        payload = NULL;
    }

    qemu_co_mutex_lock(&s->send_lock);
    ret = qio_channel_writev_all(QIO_CHANNEL(s->ioc), iov, niov, NULL);
    if (ret == 0 && payload) {
        ret = qio_channel_writev_all(QIO_CHANNEL(s->ioc), payload->iov,
                                     payload->niov, NULL);
    }
    qemu_co_mutex_unlock(&s->send_lock);
    return ret;
}

/* Fill a part of the request's buffers from the socket, or with zeroes. */
static int coroutine_fn qbd_co_receive_data(BDRVQBDState *s, QBDRequest *req,
                                            uint64_t offset, uint64_t bytes,
                                            bool is_hole)
{
    uint64_t skip = offset - req->offset;
    QEMUIOVector part;
    int ret;

    if (req->type != NBD_CMD_READ || offset < req->offset ||
        bytes > req->bytes || skip > req->bytes - bytes) {
        return -EINVAL;
    }
    req->received += bytes;
    if (is_hole) {
        qemu_iovec_memset(req->qiov, skip, 0, bytes);
        return 0;
    }
    qemu_iovec_init(&part, req->qiov->niov);
    qemu_iovec_concat(&part, req->qiov, skip, bytes);
    ret = qio_channel_readv_all(QIO_CHANNEL(s->ioc), part.iov, part.niov,
                                NULL);
    qemu_iovec_destroy(&part);
    return ret;
}

/* Receive the payload of one chunk of a structured reply. */
static int coroutine_fn qbd_co_receive_chunk(BDRVQBDState *s, QBDRequest *req,
                                             uint16_t type, uint32_t bytes)
{
    uint8_t head[12];

    if (type & NBD_CHUNK_IS_ERROR) {
        if (bytes < 6 || bytes > QBD_MAX_MESSAGE + 16 ||
            qbd_read(s->ioc, head, 6, NULL) < 0 ||
            qbd_skip(s->ioc, bytes - 6, NULL) < 0) {
            return -EINVAL;
        }
        if (!req->ret) {
            req->ret = qbd_errno(ldl_be_p(head)) ?: -EIO;
        }
        return 0;
    }
    switch (type) {
    case NBD_CHUNK_NONE:
        return bytes ? -EINVAL : 0;
    case NBD_CHUNK_DATA:
        if (bytes <= 8 || qbd_read(s->ioc, head, 8, NULL) < 0) {
            return -EINVAL;
        }
        return qbd_co_receive_data(s, req, ldq_be_p(head), bytes - 8, false);
    case NBD_CHUNK_HOLE:
        if (bytes != 12 || qbd_read(s->ioc, head, 12, NULL) < 0) {
            return -EINVAL;
        }
        return qbd_co_receive_data(s, req, ldq_be_p(head),
                                   ldl_be_p(head + 8), true);
    case NBD_CHUNK_STATUS:
        if (req->type != NBD_CMD_BLOCK_STATUS || bytes < 12 ||
            (bytes - 4) % 8 || qbd_read(s->ioc, head, 12, NULL) < 0 ||
            ldl_be_p(head) != s->export.status_context) {
            return -EINVAL;
        }
        req->extent_bytes = ldl_be_p(head + 4);
        req->extent_state = ldl_be_p(head + 8);
        return qbd_skip(s->ioc, bytes - 12, NULL);
    default:
        return -EINVAL;
    }
}

static QBDRequest *qbd_find_request(BDRVQBDState *s, uint64_t cookie)
{
    QBDRequest *req;

    QEMU_LOCK_GUARD(&s->lock);
    QTAILQ_FOREACH(req, &s->requests, next) {
        if (req->cookie == cookie && !req->done) {
            return req;
        }
    }
    return NULL;
}

/*
 * Read one reply, or one chunk of a reply, of any request in flight.  An error
 * means that the connection cannot be used any more.
 */
static int coroutine_fn qbd_co_receive(BDRVQBDState *s)
{
    uint8_t head[20];
    QBDRequest *req;
    bool is_last;
    int ret = 0;

    if (qbd_read(s->ioc, head, 16, NULL) < 0) {
        return -EIO;
    }
    req = qbd_find_request(s, ldq_be_p(head + 8));
    if (!req) {
        return -EINVAL;
    }
    switch (ldl_be_p(head)) {
    case NBD_SIMPLE_MAGIC:
        is_last = true;
        req->ret = qbd_errno(ldl_be_p(head + 4));
        if (req->type == NBD_CMD_READ && !req->ret) {
            ret = s->export.structured ? -EINVAL :
                  qbd_co_receive_data(s, req, req->offset, req->bytes, false);
        }
        break;
    case NBD_STRUCTURED_MAGIC:
        if (!s->export.structured || qbd_read(s->ioc, head + 16, 4, NULL) < 0) {
            return -EINVAL;
        }
        is_last = lduw_be_p(head + 4) & NBD_CHUNK_DONE;
        ret = qbd_co_receive_chunk(s, req, lduw_be_p(head + 6),
                                   ldl_be_p(head + 16));
        break;
    default:
        return -EINVAL;
    }
    if (ret < 0) {
        return ret;
    }

    if (is_last) {
        if (!req->ret && ((req->type == NBD_CMD_READ &&
                           req->received != req->bytes) ||
                          (req->type == NBD_CMD_BLOCK_STATUS &&
                           !req->extent_bytes))) {
            return -EINVAL;     /* a successful reply lacks its data */
        }
        QEMU_LOCK_GUARD(&s->lock);
        req->done = true;
        qemu_co_queue_next(&req->wake);
    }
    return 0;
}

/* The connection is over: end all requests in flight. */
static void coroutine_fn qbd_co_lose_requests(BDRVQBDState *s)
{
    QBDRequest *req;

    s->connected = false;
    qio_channel_shutdown(QIO_CHANNEL(s->ioc), QIO_CHANNEL_SHUTDOWN_BOTH, NULL);
    QTAILQ_FOREACH(req, &s->requests, next) {
        if (!req->done) {
            req->ret = QBD_LOST;
            req->done = true;
            qemu_co_queue_next(&req->wake);
        }
    }
}

/*
 * Wait for the reply.  The first request that waits reads the socket for all;
 * when it has its own reply, it hands over to another one that waits.
 */
static void coroutine_fn qbd_co_wait(BDRVQBDState *s, QBDRequest *req)
{
    QBDRequest *other;
    int ret;

    qemu_mutex_lock(&s->lock);
    while (!req->done) {
        if (s->receiving) {
            qemu_co_queue_wait(&req->wake, &s->lock);
            continue;
        }
        s->receiving = true;
        qemu_mutex_unlock(&s->lock);
        ret = qbd_co_receive(s);
        qemu_mutex_lock(&s->lock);
        s->receiving = false;
        if (ret < 0) {
            qbd_co_lose_requests(s);
        }
    }
    if (!s->receiving) {
        QTAILQ_FOREACH(other, &s->requests, next) {
            if (!other->done && !qemu_co_queue_empty(&other->wake)) {
                qemu_co_queue_next(&other->wake);
                break;
            }
        }
    }
    qemu_mutex_unlock(&s->lock);
}

/* Send one request on this connection and wait for its reply. */
static int coroutine_fn qbd_co_try(BDRVQBDState *s, QBDRequest *req)
{
    qemu_mutex_lock(&s->lock);
    while (s->connected && s->in_flight == QBD_MAX_IN_FLIGHT) {
        qemu_co_queue_wait(&s->slots, &s->lock);
    }
    if (!s->connected) {
        qemu_co_queue_next(&s->slots);
        qemu_mutex_unlock(&s->lock);
        return QBD_LOST;
    }
    req->cookie = s->next_cookie++;
    req->received = 0;
    req->extent_bytes = 0;
    req->ret = 0;
    req->done = false;
    qemu_co_queue_init(&req->wake);
    QTAILQ_INSERT_TAIL(&s->requests, req, next);
    s->in_flight++;
    qemu_mutex_unlock(&s->lock);

    if (qbd_co_send(s, req) < 0) {
        /* Whoever reads the socket notices, and ends the requests. */
        qio_channel_shutdown(QIO_CHANNEL(s->ioc), QIO_CHANNEL_SHUTDOWN_BOTH,
                             NULL);
    }
    qbd_co_wait(s, req);

    qemu_mutex_lock(&s->lock);
    QTAILQ_REMOVE(&s->requests, req, next);
    s->in_flight--;
    qemu_co_queue_next(&s->slots);
    if (!s->in_flight) {
        qemu_co_queue_restart_all(&s->idle);
    }
    qemu_mutex_unlock(&s->lock);
    return req->ret;
}

/*
 * Perform a request.  If the connection is lost, connect and send it again:
 * every request can be repeated, because QEMU does not order requests that are
 * in flight together.
 */
static int coroutine_fn qbd_co_request(BlockDriverState *bs, QBDRequest *req)
{
    BDRVQBDState *s = bs->opaque;
    int64_t deadline = 0;
    int ret;

    for (;;) {
        ret = s->connected ? 0 : qbd_co_reconnect(bs);
        if (ret == 0) {
            ret = qbd_co_try(s, req);
            if (ret != QBD_LOST) {
                return ret;
            }
        }
        if (!deadline) {
            deadline = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) +
                       s->reconnect_ns;
        } else if (qemu_clock_get_ns(QEMU_CLOCK_REALTIME) >= deadline) {
            return -EIO;
        } else {
            qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, QBD_RETRY_NS);
        }
    }
}

/* Note that acknowledged changes wait for a flush. */
static void qbd_count_write(BDRVQBDState *s, int ret, BdrvRequestFlags flags)
{
    if (ret == 0 && !(flags & BDRV_REQ_FUA)) {
        QEMU_LOCK_GUARD(&s->lock);
        s->writes++;
    }
}

/* ------------------------------------------------------------------------ */
/* I/O callbacks                                                            */

/*
 * bdrv_co_preadv: read @bytes at @offset into @qiov.
 *
 * QEMU guarantees that both are multiples of bl.request_alignment, that @bytes
 * is the size of @qiov and at most bl.max_transfer, and that the range is in
 * the node, whose size it rounds up to 512 bytes.  The lengths of the parts of
 * @qiov are arbitrary, and they may point into the memory of a guest, which
 * can change at any time.  The driver fills all of @qiov before it returns 0;
 * what is behind the end of the volume reads as zeroes.  It returns -errno
 * otherwise, and then the contents of @qiov do not matter.
 *
 * As every coroutine_fn it may yield, and then other requests run.
 */
static int coroutine_fn GRAPH_RDLOCK
qbd_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
              QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    BDRVQBDState *s = bs->opaque;
    int64_t in_volume = MIN(bytes, MAX(s->size - offset, 0));
    QEMUIOVector head;
    QBDRequest req = {
        .type = NBD_CMD_READ,
        .offset = offset,
        .bytes = in_volume,
        .qiov = qiov,
    };
    int ret = 0;

    if (offset + bytes > ROUND_UP(s->size, BDRV_SECTOR_SIZE)) {
        return -EIO;            /* another client has made the volume smaller */
    }
    if (in_volume < bytes) {
        qemu_iovec_memset(qiov, in_volume, 0, bytes - in_volume);
        if (!in_volume) {
            return 0;
        }
        qemu_iovec_init_slice(&head, qiov, 0, in_volume);
        req.qiov = &head;
    }
    ret = qbd_co_request(bs, &req);
    if (in_volume < bytes) {
        qemu_iovec_destroy(&head);
    }
    return ret;
}

/* Let the volume grow, if a write ends behind its end. */
static int coroutine_fn qbd_co_grow(BlockDriverState *bs, int64_t end)
{
    BDRVQBDState *s = bs->opaque;
    Error *local_err = NULL;
    QDict *answer, *volume;
    int ret = 0;

    if (end <= s->size) {
        return 0;
    }
    qemu_co_mutex_lock(&s->grow_lock);
    if (end > s->size) {
        /* Another client may have let it grow further: never shrink it. */
        answer = qbd_query(s, &volume, &local_err);
        if (volume && qdict_get_try_int(volume, "size", 0) >= end) {
            s->size = qdict_get_int(volume, "size");
        } else if (volume) {
            ret = qbd_set_size(s, end, &local_err);
            if (ret == 0) {
                s->size = end;
                qbd_count_write(s, 0, 0);
            }
        }
        qobject_unref(answer);
        if (local_err) {
            error_free(local_err);
            ret = -ENOSPC;
        }
    }
    qemu_co_mutex_unlock(&s->grow_lock);
    return ret;
}

/*
 * bdrv_co_pwritev: write @qiov at @offset.
 *
 * The same guarantees as for reads.  The parts of @qiov must be sent as they
 * are at one moment: a guest can change its memory while the request runs, so
 * the driver must not read a part twice and expect the same bytes.  @flags has
 * only flags of bs->supported_write_flags; if BDRV_REQ_FUA is there, the data
 * must be durable before 0 is returned.  (Without it in
 * supported_write_flags, QEMU sends a flush after the write.)
 *
 * An image format writes behind the end of the node and expects that it grows
 * (it holds BLK_PERM_RESIZE).  A driver that cannot do this returns an error.
 */
static int coroutine_fn GRAPH_RDLOCK
qbd_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
               QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    BDRVQBDState *s = bs->opaque;
    QBDRequest req = {
        .type = NBD_CMD_WRITE,
        .flags = flags & BDRV_REQ_FUA ? NBD_FLAG_FUA : 0,
        .offset = offset,
        .bytes = bytes,
        .qiov = qiov,
    };
    int ret;

    ret = qbd_co_grow(bs, offset + bytes);
    if (ret < 0) {
        return ret;
    }
    ret = qbd_co_request(bs, &req);
    qbd_count_write(s, ret, flags);
    return ret;
}

/*
 * bdrv_co_pwrite_zeroes: write zeroes without sending them.
 *
 * @bytes is at most bl.max_pwrite_zeroes, and may be far more than
 * bl.max_transfer.  @flags has only flags of bs->supported_zero_flags:
 * - BDRV_REQ_FUA: as for writes;
 * - BDRV_REQ_MAY_UNMAP: the range may become a hole; without it, it must stay
 *   allocated;
 * - BDRV_REQ_NO_FALLBACK: fail with -ENOTSUP at once, if this is not faster
 *   than a write of zeroes.
 * After -ENOTSUP, QEMU writes buffers of zeroes instead (unless NO_FALLBACK).
 */
static int coroutine_fn GRAPH_RDLOCK
qbd_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                     BdrvRequestFlags flags)
{
    BDRVQBDState *s = bs->opaque;
    QBDRequest req = {
        .type = NBD_CMD_WRITE_ZEROES,
        .offset = offset,
        .bytes = bytes,
    };
    int ret;

    if (!(s->export.flags & NBD_SEND_WRITE_ZEROES)) {
        return -ENOTSUP;
    }
    if (flags & BDRV_REQ_FUA) {
        req.flags |= NBD_FLAG_FUA;
    }
    if (!(flags & BDRV_REQ_MAY_UNMAP)) {
        req.flags |= NBD_FLAG_NO_HOLE;
    }
    if (flags & BDRV_REQ_NO_FALLBACK) {
        req.flags |= NBD_FLAG_FAST_ZERO;
    }
    ret = qbd_co_grow(bs, offset + bytes);
    if (ret < 0) {
        return ret;
    }
    ret = qbd_co_request(bs, &req);
    qbd_count_write(s, ret, flags);
    return ret;
}

/*
 * bdrv_co_pdiscard: the contents of the range are not needed any more.
 *
 * A hint: the driver may do nothing and return 0 or -ENOTSUP.  @bytes is at
 * most bl.max_pdiscard.  QEMU splits a request at bl.pdiscard_alignment, and
 * sends unaligned heads and tails too; the driver must not touch a byte
 * outside of the range.
 */
static int coroutine_fn GRAPH_RDLOCK
qbd_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    BDRVQBDState *s = bs->opaque;
    QBDRequest req = {
        .type = NBD_CMD_TRIM,
        .offset = offset,
        .bytes = MIN(bytes, s->size - offset),
    };
    int ret;

    if (!(s->export.flags & NBD_SEND_TRIM)) {
        return -ENOTSUP;
    }
    if (req.bytes <= 0) {
        return 0;
    }
    ret = qbd_co_request(bs, &req);
    qbd_count_write(s, ret, 0);
    return ret;
}

/*
 * bdrv_co_flush_to_disk: make every write durable that completed before this
 * call.
 *
 * It must wait until the data would survive a power cut.  Writes that are
 * still in flight may be left out.  An error means that data may be lost; QEMU
 * reports it to the guest and calls again at the next flush.  QEMU does not
 * call it under cache=unsafe, and not if nothing was written since the last
 * successful flush.
 */
static int coroutine_fn GRAPH_RDLOCK
qbd_co_flush_to_disk(BlockDriverState *bs)
{
    BDRVQBDState *s = bs->opaque;
    QBDRequest req = { .type = NBD_CMD_FLUSH };
    uint64_t covered;
    int ret = 0;

    if (!(s->export.flags & NBD_SEND_FLUSH)) {
        return 0;
    }
    WITH_QEMU_LOCK_GUARD(&s->lock) {
        covered = s->writes;
    }
    ret = qbd_co_request(bs, &req);
    QEMU_LOCK_GUARD(&s->lock);
    if (s->writes_lost) {
        s->writes_lost = false;
        return -EIO;
    }
    if (ret == 0) {
        s->flushed_writes = MAX(s->flushed_writes, covered);
    }
    return ret;
}

/*
 * bdrv_co_block_status: say what @offset holds, and for how many bytes this is
 * so (*@pnum, at least 1).
 *
 * The result is -errno or a set of:
 * - BDRV_BLOCK_DATA: storage is allocated here;
 * - BDRV_BLOCK_ZERO: reads as zeroes.  Tools do not read such ranges, so a
 *   wrong ZERO loses data;
 * - BDRV_BLOCK_OFFSET_VALID: the data is at *@map in *@file.
 * @offset and @bytes are in the node and aligned to bl.request_alignment.
 * *@pnum must be aligned too, may be less than @bytes, and may be more if this
 * costs nothing.  @mode says what the caller wants to know (before 10.1 it is
 * called want_zero; false: it prefers a long *@pnum to exact zeroes).  QEMU
 * caches ranges of data, so the answer must depend on the contents only.
 */
static int coroutine_fn GRAPH_RDLOCK
qbd_co_block_status(BlockDriverState *bs, QBDStatusMode mode, int64_t offset,
                    int64_t bytes, int64_t *pnum, int64_t *map,
                    BlockDriverState **file)
{
    BDRVQBDState *s = bs->opaque;
    int64_t limit = QEMU_ALIGN_DOWN(UINT32_MAX, MAX(s->export.min_block, 512));
    QBDRequest req = {
        .type = NBD_CMD_BLOCK_STATUS,
        .flags = NBD_FLAG_REQ_ONE,
        .offset = offset,
        .bytes = MIN(MIN(bytes, limit), s->size - offset),
    };
    int ret;

    *map = offset;
    *file = bs;
    *pnum = bytes;
    if (offset >= s->size) {    /* QEMU rounds the size up */
        return BDRV_BLOCK_ZERO | BDRV_BLOCK_OFFSET_VALID;
    }
    if (!s->export.has_status) {
        return BDRV_BLOCK_DATA | BDRV_BLOCK_OFFSET_VALID;
    }
    ret = qbd_co_request(bs, &req);
    if (ret < 0) {
        return ret;
    }
    *pnum = req.extent_bytes;
    return (req.extent_state & NBD_STATE_HOLE ? 0 : BDRV_BLOCK_DATA) |
           (req.extent_state & NBD_STATE_ZERO ? BDRV_BLOCK_ZERO : 0) |
           BDRV_BLOCK_OFFSET_VALID;
}

/* ------------------------------------------------------------------------ */
/* Size and limits                                                          */

/*
 * bdrv_co_getlength (bdrv_getlength before 8.0): the size in bytes, or -errno.
 *
 * QEMU rounds it up to 512 bytes, calls it after open and after every change
 * of size that it makes itself, and remembers the result.  It asks again and
 * again only if the driver sets has_variable_length.
 */
static int64_t coroutine_fn GRAPH_RDLOCK qbd_co_getlength(BlockDriverState *bs)
{
    BDRVQBDState *s = bs->opaque;

    return s->size;
}

/*
 * bdrv_co_truncate: change the size to @offset bytes.
 *
 * If @exact is false, a larger size will do (for devices that cannot shrink);
 * a driver that can only do that returns -ENOTSUP for @exact.  A @prealloc
 * that the driver does not know must be refused, and so must any but OFF for
 * shrinking.  @flags has only flags of bs->supported_truncate_flags:
 * BDRV_REQ_ZERO_WRITE asks that the new part reads as zeroes, also where data
 * was cut off before.  bdrv_co_getlength must return the new size afterwards.
 */
static int coroutine_fn GRAPH_RDLOCK
qbd_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                PreallocMode prealloc, BdrvRequestFlags flags, Error **errp)
{
    BDRVQBDState *s = bs->opaque;
    int ret;

    if (prealloc != PREALLOC_MODE_OFF) {
        error_setg(errp, "Unsupported preallocation mode '%s'",
                   PreallocMode_str(prealloc));
        return -ENOTSUP;
    }
    qemu_co_mutex_lock(&s->grow_lock);
    ret = qbd_set_size(s, offset, errp);
    if (ret == 0) {
        s->size = offset;
        qbd_count_write(s, 0, 0);
    }
    qemu_co_mutex_unlock(&s->grow_lock);
    return ret;
}

/*
 * bdrv_refresh_limits: fill bs->bl, which has defaults.
 *
 * QEMU splits and aligns requests by it: request_alignment (a power of 2; QEMU
 * reads, changes and writes around smaller writes), max_transfer (reads and
 * writes), max_pwrite_zeroes, max_pdiscard.  0 means "no limit", but a length
 * field of 32 bits on the wire is a limit.  Called at open, at reopen and when
 * the graph changes.
 */
static void qbd_refresh_limits(BlockDriverState *bs, Error **errp)
{
    BDRVQBDState *s = bs->opaque;
    uint32_t block = s->export.min_block;
    uint32_t largest = QEMU_ALIGN_DOWN(UINT32_MAX, MAX(block, 512));

    bs->bl.request_alignment = block;
    bs->bl.opt_transfer = s->export.preferred_block;
    bs->bl.max_transfer = QEMU_ALIGN_DOWN(MIN(s->export.max_block, INT_MAX),
                                          block);
    bs->bl.max_pwrite_zeroes = largest;
    bs->bl.max_pdiscard = largest;
    bs->bl.pdiscard_alignment = block;
    bs->bl.pwrite_zeroes_alignment = block;
}

/*
 * bdrv_probe_blocksizes: the block sizes that a guest's disk shall have, both
 * powers of 2 and at least 512, logical at most physical.
 *
 * A device asks once, when it is made, unless its own properties
 * logical_block_size and physical_block_size are set.  The guest aligns its
 * requests to the logical size and believes that a write of one physical block
 * is done as a whole.  A logical size below request_alignment is legal but
 * slow: QEMU must read around each small write.
 */
static int GRAPH_RDLOCK qbd_probe_blocksizes(BlockDriverState *bs,
                                             BlockSizes *bsz)
{
    BDRVQBDState *s = bs->opaque;
    uint32_t logical = MAX(BDRV_SECTOR_SIZE, s->export.min_block);
    uint32_t physical = MAX(BDRV_SECTOR_SIZE, s->export.preferred_block);

    bsz->log = s->logical_block_size ?: MIN(logical, QBD_MAX_LOGICAL_BLOCK);
    bsz->phys = s->physical_block_size ?: MAX(physical, bsz->log);
    return 0;
}

/* ------------------------------------------------------------------------ */
/* Life of a node                                                           */

/*
 * bdrv_open (bdrv_file_open before 9.1): open the volume.
 *
 * bs->opaque has instance_size bytes of zeroes.  The driver takes its own
 * options out of @options and leaves the others; QEMU refuses what nobody took.
 * BDRV_O_RDWR in @flags says that the node is to be writable; if this is not
 * possible, bdrv_apply_auto_read_only decides between an error and a read-only
 * node.  The flags of writes that the driver understands are set here.  On an
 * error it frees everything, because bdrv_close is not called.
 */
static int qbd_open(BlockDriverState *bs, QDict *options, int flags,
                    Error **errp)
{
    BDRVQBDState *s = bs->opaque;
    int ret;

    qemu_co_mutex_init(&s->connect_lock);
    qemu_co_mutex_init(&s->send_lock);
    qemu_co_mutex_init(&s->grow_lock);
    qemu_mutex_init(&s->lock);
    qemu_co_queue_init(&s->slots);
    qemu_co_queue_init(&s->idle);
    QTAILQ_INIT(&s->requests);

    ret = qbd_read_options(s, options, errp);
    if (ret < 0) {
        goto fail;
    }
    ret = qbd_connect(bs, errp);
    if (ret < 0) {
        goto fail;
    }
    if (s->export.flags & NBD_READ_ONLY || s->snapshot) {
        ret = bdrv_apply_auto_read_only(bs, "The qbd volume is read-only",
                                        errp);
        if (ret < 0) {
            qbd_disconnect(s);
            goto fail;
        }
    }

    bs->supported_write_flags = 0;
    bs->supported_zero_flags = BDRV_REQ_MAY_UNMAP;
    if (s->export.flags & NBD_SEND_FUA) {
        bs->supported_write_flags |= BDRV_REQ_FUA;
        bs->supported_zero_flags |= BDRV_REQ_FUA;
    }
    if (s->export.flags & NBD_SEND_FAST_ZERO) {
        bs->supported_zero_flags |= BDRV_REQ_NO_FALLBACK;
    }
    /* The new part of a volume that has grown reads as zeroes. */
    bs->supported_truncate_flags = BDRV_REQ_ZERO_WRITE;
    return 0;

fail:
    qemu_mutex_destroy(&s->lock);
    qbd_free_options(s);
    return ret;
}

/*
 * bdrv_close: free everything that bdrv_open made.
 *
 * No request is in flight, and QEMU has flushed.
 */
static void qbd_close(BlockDriverState *bs)
{
    BDRVQBDState *s = bs->opaque;
    QBDRequestHeader header = {
        .magic = cpu_to_be32(NBD_REQUEST_MAGIC),
        .type = cpu_to_be16(NBD_CMD_DISC),
    };

    if (s->connected) {
        qbd_write(s->ioc, &header, sizeof(header), NULL);
    }
    qbd_disconnect(s);
    qemu_mutex_destroy(&s->lock);
    qbd_free_options(s);
}

/*
 * bdrv_reopen_prepare: say whether the node can get new flags (read-only,
 * cache mode) while it is in use.
 *
 * Without this callback, a commit into a backing file and blockdev-reopen
 * fail.  The driver changes nothing yet: bdrv_reopen_commit or _abort follows.
 * QEMU itself refuses changes of options that are not in mutable_opts.
 */
static int qbd_reopen_prepare(BDRVReopenState *state, BlockReopenQueue *queue,
                              Error **errp)
{
    BDRVQBDState *s = state->bs->opaque;

    if (state->flags & BDRV_O_RDWR &&
        (s->export.flags & NBD_READ_ONLY || s->snapshot)) {
        error_setg(errp, "The qbd volume is read-only");
        return -EACCES;
    }
    return 0;
}

#if !QEMU_AT_LEAST(8, 2)
/*
 * bdrv_detach_aio_context, bdrv_attach_aio_context: the node moves to another
 * event loop (an iothread).
 *
 * Everything that is registered with the old loop (fd handlers, timers, BHs)
 * is removed in the first and added to the new loop in the second.  No request
 * is in flight.
 */
static void qbd_detach_aio_context(BlockDriverState *bs)
{
    BDRVQBDState *s = bs->opaque;

    if (s->ioc) {
        qbd_detach_channel(s->ioc);
    }
}

static void qbd_attach_aio_context(BlockDriverState *bs,
                                   AioContext *new_context)
{
    BDRVQBDState *s = bs->opaque;

    if (s->ioc) {
        qbd_attach_channel(s->ioc, new_context);
    }
}
#endif

/* ------------------------------------------------------------------------ */
/* Creation and snapshots                                                   */

/*
 * create_opts: the options of `qemu-img create` that the driver understands.
 * The list of an image format is added to it.
 */
static QemuOptsList qbd_create_opts = {
    .name = "qbd-create-opts",
    .head = QTAILQ_HEAD_INITIALIZER(qbd_create_opts.head),
    .desc = {
        {
            .name = BLOCK_OPT_SIZE,
            .type = QEMU_OPT_SIZE,
            .help = "Virtual disk size"
        },
        { /* end of list */ }
    }
};

/*
 * bdrv_co_create_opts: make the volume @filename, of the size in @opts.
 *
 * There is no node yet.  An image format calls it for the volume below, with
 * the size of the whole image, opens the volume and writes its header.  If
 * there is a volume already, this driver empties it, as QEMU does with files.
 */
static int coroutine_fn GRAPH_UNLOCKED
qbd_co_create_opts(BlockDriver *drv, const char *filename, QemuOpts *opts,
                   Error **errp)
{
    int64_t size = ROUND_UP(qemu_opt_get_size_del(opts, BLOCK_OPT_SIZE, 0),
                            BDRV_SECTOR_SIZE);
    QDict *options = qdict_new();
    QDict *answer = NULL;
    QDict *volume = NULL;
    BDRVQBDState s = { 0 };
    Error *local_err = NULL;
    int ret;

    qbd_parse_filename(filename, options, &local_err);
    ret = local_err ? -EINVAL : qbd_read_options(&s, options, &local_err);
    if (ret == 0 && s.snapshot) {
        error_setg(&local_err, "A snapshot cannot be created by its name");
        ret = -EINVAL;
    }
    if (ret == 0) {
        answer = qbd_query(&s, &volume, &local_err);
        ret = answer ? 0 : -EIO;
    }
    if (ret == 0 && volume) {
        ret = qbd_set_size(&s, 0, &local_err) ?:
              qbd_set_size(&s, size, &local_err);
    } else if (ret == 0) {
        g_autofree char *name = qbd_volume_name(&s);
        QDict *arguments = qdict_new();

        qdict_put_str(arguments, "name", name);
        qdict_put_int(arguments, "size", size);
        ret = qbd_command(&s, "volume-create", arguments, &local_err);
    }
    error_propagate(errp, local_err);
    qobject_unref(answer);
    qobject_unref(options);
    qbd_free_options(&s);
    return ret;
}

/*
 * bdrv_snapshot_create: keep the contents under @sn_info->name.
 *
 * QEMU has drained the node: no request is in flight.
 */
static int GRAPH_RDLOCK qbd_snapshot_create(BlockDriverState *bs,
                                            QEMUSnapshotInfo *sn_info)
{
    BDRVQBDState *s = bs->opaque;
    g_autofree char *name = qbd_volume_name(s);
    QDict *arguments = qdict_new();
    Error *local_err = NULL;
    int ret;

    qdict_put_str(arguments, "name", name);
    qdict_put_str(arguments, "snapshot", sn_info->name);
    ret = qbd_command(s, "volume-snapshot", arguments, &local_err);
    if (ret < 0) {
        error_report_err(local_err);
        return ret;
    }
    pstrcpy(sn_info->id_str, sizeof(sn_info->id_str), sn_info->name);
    return 0;
}

/*
 * bdrv_snapshot_delete: remove the snapshot with this id, this name, or both
 * (the one that is not meant is NULL).  -ENOENT if there is none.
 */
static int GRAPH_RDLOCK qbd_snapshot_delete(BlockDriverState *bs,
                                            const char *snapshot_id,
                                            const char *name, Error **errp)
{
    BDRVQBDState *s = bs->opaque;
    const char *snapshot = name ?: snapshot_id;
    g_autofree char *volume = g_strdup_printf("%s/%s@%s", s->pool, s->image,
                                              snapshot ?: "");
    QDict *arguments;

    if (!snapshot || (snapshot_id && strcmp(snapshot_id, snapshot))) {
        error_setg(errp, "The id of a snapshot of a qbd volume is its name");
        return -EINVAL;
    }
    arguments = qdict_new();
    qdict_put_str(arguments, "name", volume);
    return qbd_command(s, "volume-remove", arguments, errp);
}

/*
 * bdrv_snapshot_list: return the number of snapshots, or -errno, and in
 * *@psn_tab an array of them that the caller frees with g_free.
 */
static int GRAPH_RDLOCK qbd_snapshot_list(BlockDriverState *bs,
                                          QEMUSnapshotInfo **psn_tab)
{
    BDRVQBDState *s = bs->opaque;
    Error *local_err = NULL;
    QEMUSnapshotInfo *table;
    QListEntry *entry;
    QDict *answer, *volume;
    QList *names;
    int count = 0;
    int ret;

    *psn_tab = NULL;
    if (!s->control) {
        return -ENOTSUP;
    }
    answer = qbd_query(s, &volume, &local_err);
    names = volume ? qdict_get_qlist(volume, "snapshots") : NULL;
    if (!names) {               /* a snapshot that was opened by its name */
        ret = local_err ? -EIO : 0;
        error_free(local_err);
        qobject_unref(answer);
        return ret;
    }
    table = g_new0(QEMUSnapshotInfo, qlist_size(names));
    QLIST_FOREACH_ENTRY(names, entry) {
        QString *name = qobject_to(QString, qlist_entry_obj(entry));

        if (name) {
            pstrcpy(table[count].name, sizeof(table[count].name),
                    qstring_get_str(name));
            pstrcpy(table[count].id_str, sizeof(table[count].id_str),
                    qstring_get_str(name));
            count++;
        }
    }
    qobject_unref(answer);
    *psn_tab = table;
    return count;
}

/* ------------------------------------------------------------------------ */

static BlockDriver bdrv_qbd = {
    .format_name                = "qbd",
    .protocol_name              = "qbd",
    .instance_size              = sizeof(BDRVQBDState),
    .bdrv_needs_filename        = false,
    .strong_runtime_opts        = qbd_strong_runtime_opts,

    .bdrv_parse_filename        = qbd_parse_filename,
    .bdrv_refresh_filename      = qbd_refresh_filename,
    .create_opts                = &qbd_create_opts,
    .bdrv_co_create_opts        = qbd_co_create_opts,
    .bdrv_has_zero_init         = bdrv_has_zero_init_1,

#if !QEMU_AT_LEAST(9, 1)
    .bdrv_file_open             = qbd_open,
#else
    .bdrv_open                  = qbd_open,
#endif
    .bdrv_close                 = qbd_close,
    .bdrv_reopen_prepare        = qbd_reopen_prepare,
#if !QEMU_AT_LEAST(8, 2)
    .bdrv_detach_aio_context    = qbd_detach_aio_context,
    .bdrv_attach_aio_context    = qbd_attach_aio_context,
#endif

#if !QEMU_AT_LEAST(8, 0)
    .bdrv_getlength             = qbd_co_getlength,
#else
    .bdrv_co_getlength          = qbd_co_getlength,
#endif
    .bdrv_co_truncate           = qbd_co_truncate,
    .bdrv_refresh_limits        = qbd_refresh_limits,
    .bdrv_probe_blocksizes      = qbd_probe_blocksizes,

    .bdrv_co_preadv             = qbd_co_preadv,
    .bdrv_co_pwritev            = qbd_co_pwritev,
    .bdrv_co_pwrite_zeroes      = qbd_co_pwrite_zeroes,
    .bdrv_co_pdiscard           = qbd_co_pdiscard,
    .bdrv_co_flush_to_disk      = qbd_co_flush_to_disk,
    .bdrv_co_block_status       = qbd_co_block_status,

    .bdrv_snapshot_create       = qbd_snapshot_create,
    .bdrv_snapshot_delete       = qbd_snapshot_delete,
    .bdrv_snapshot_list         = qbd_snapshot_list,
};

static void bdrv_qbd_init(void)
{
    bdrv_register(&bdrv_qbd);
}

block_init(bdrv_qbd_init);
