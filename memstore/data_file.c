/* data_file.c -- looking into a data file that is not open as a store. See data_file.h. */
#include "memstore/data_file.h"

#include "memstore/page_check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

mneme_status mn_read_created(const mn_read *read, int64_t *created, mneme_error *error)
{
    MDB_val value;
    *created = 0;
    mneme_status status = mn_meta_get(read, "created", &value, error);
    if (status == MNEME_ERR_NOT_FOUND || (status == MNEME_OK && value.mv_size != sizeof *created))
        return mn_fail(error, MNEME_ERR_DAMAGED, "the store does not say when it was made");
    if (status == MNEME_OK) memcpy(created, value.mv_data, sizeof *created);
    return status;
}

static mneme_status read_meta(mn_data_file *file, mneme_error *error)
{
    MDB_val value;
    mneme_status status = mn_meta_get(&file->read, "generation", &value, error);
    if (status == MNEME_ERR_NOT_FOUND || (status == MNEME_OK && value.mv_size != sizeof file->generation))
        return mn_fail(error, MNEME_ERR_DAMAGED, "the store has no generation number");
    if (status != MNEME_OK) return status;
    memcpy(&file->generation, value.mv_data, sizeof file->generation);
    file->read.generation = file->generation;
    return mn_read_created(&file->read, &file->created, error);
}

static mneme_status open_database(mn_data_file *file, int db, const char *name, mneme_error *error)
{
    int code = mdb_dbi_open(file->read.txn, name, 0, &file->store.dbs[db]);
    if (code == MDB_NOTFOUND || code == MDB_INCOMPATIBLE)
        return mn_fail(error, MNEME_ERR_NOT_A_STORE, "an LMDB file, but not a mneme store (it has no \"%s\")", name);
    return code == 0 ? MNEME_OK : mn_lmdb_fail(error, code, "cannot read it");
}

/* The file is long enough by then: a page behind its end would be SIGBUS. */
static mneme_status begin(mn_data_file *file, mneme_error *error)
{
    file->read.store = &file->store;
    int code = mdb_txn_begin(file->store.env, NULL, MDB_RDONLY, &file->read.txn);
    if (code != 0) return mn_lmdb_fail(error, code, "cannot read it");
    mneme_status status = open_database(file, DB_META, "meta", error);
    return status == MNEME_OK ? read_meta(file, error) : status;
}

static mneme_status check_length(mn_data_file *file, bool complete, mneme_error *error)
{
    MDB_envinfo info;
    MDB_stat stat_of;
    struct stat size;
    mdb_env_info(file->store.env, &info);
    mdb_env_stat(file->store.env, &stat_of);
    uint64_t bytes = ((uint64_t)info.me_last_pgno + 1) * stat_of.ms_psize;
    if (stat(file->path, &size) != 0) return mn_fail_errno(error, errno, "cannot read it");
    if ((uint64_t)size.st_size >= bytes) return MNEME_OK;
    if (!complete)
        return mn_fail(error, MNEME_ERR_DAMAGED, "it has %llu bytes of %llu", (unsigned long long)size.st_size,
                       (unsigned long long)bytes);
    return truncate(file->path, (off_t)bytes) == 0 ? MNEME_OK : mn_fail_errno(error, errno, "cannot make it longer");
}

mneme_status mn_data_file_open(const char *path, bool complete, mn_data_file *out, mneme_error *error)
{
    *out = (mn_data_file){.path = path};
    int code = mdb_env_create(&out->store.env);
    if (code == 0) code = mdb_env_set_maxdbs(out->store.env, DB_COUNT);
    if (code == 0) code = mdb_env_set_mapsize(out->store.env, 1 << 20); /* LMDB takes what the file needs */
    if (code == 0) code = mdb_env_open(out->store.env, path, MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK, 0600);
    mneme_status status = code == 0 ? MNEME_OK : mn_lmdb_fail(error, code, "cannot read it");
    if (status == MNEME_OK) status = check_length(out, complete, error);
    if (status == MNEME_OK) status = begin(out, error);
    if (status != MNEME_OK) mn_error_prefix(error, "%s: ", path);
    return status;
}

void mn_data_file_close(mn_data_file *file)
{
    if (file->read.txn) mdb_txn_abort(file->read.txn);
    if (file->store.env) mdb_env_close(file->store.env);
    file->read.txn = NULL;
    file->store.env = NULL;
}

/* ---- is it sound? ---- */

static void keep_first(void *context, const char *line)
{
    mn_buffer *first = context;
    if (first->size == 0) mn_buffer_text(first, line);
}

static void keep_record(void *context, uint32_t ns, uint32_t rec)
{
    mn_buffer *first = context;
    if (first->size == 0)
        mn_buffer_format(first, "the content of record %u of namespace number %u does not fit its checksum", rec, ns);
}

static void keep_vectors(void *context, uint32_t ns, uint32_t row)
{
    mn_buffer *first = context;
    if (first->size == 0)
        mn_buffer_format(first, "the block of vectors from row %u of namespace number %u does not fit its checksum",
                         row, ns);
}

mneme_status mn_data_file_check(mn_data_file *file, mneme_error *error)
{
    mn_buffer first = {0};
    uint64_t n = 0;
    mneme_status status = mn_pages_check(file->read.txn, keep_first, &first, &n, error);
    if (status == MNEME_OK && n == 0) {
        mn_checked_trust(file->read.txn);
        status = open_database(file, DB_RECORDS, "records", error);
        if (status == MNEME_OK) status = open_database(file, DB_VECTORS, "vectors", error);
        if (status == MNEME_OK) status = mn_checksums_compare(&file->read, DB_RECORDS, 0, keep_record, &first, error);
        if (status == MNEME_OK) status = mn_checksums_compare(&file->read, DB_VECTORS, 0, keep_vectors, &first, error);
        n += first.size > 0 || first.failed;
        if (status == MNEME_OK && n == 0) status = mn_dictionary_check(&file->read, error);
    }
    if (status == MNEME_OK && n > 0)
        status = first.failed ? mn_fail_memory(error, "check") : mn_fail(error, MNEME_ERR_DAMAGED, "%s", first.data);
    mn_buffer_free(&first);
    return status;
}

/* ---- is it of the past of a store? ---- */

mneme_status mn_data_file_is_ancestor(mn_data_file *file, const mn_read *source, bool *is, bool *reaches,
                                      mneme_error *error)
{
    MDB_val own, of_source;
    *is = *reaches = file->generation == 0; /* nothing was ever written to it */
    if (*is) return MNEME_OK;
    key_bytes key = mn_key_log(file->generation), again = key;
    mneme_status status = open_database(file, DB_LOG, "log", error);
    if (status == MNEME_OK) status = mn_db_get(&file->read, DB_LOG, &key, &own, error);
    if (status == MNEME_ERR_NOT_FOUND) status = mn_fail(error, MNEME_ERR_DAMAGED, "its change log has no newest entry");
    if (status != MNEME_OK) {
        mn_error_prefix(error, "%s: ", file->path);
        return status;
    }
    status = mn_db_get(source, DB_LOG, &again, &of_source, error);
    if (status == MNEME_ERR_NOT_FOUND) return MNEME_OK;
    *reaches = status == MNEME_OK;
    *is = *reaches && own.mv_size == of_source.mv_size && memcmp(own.mv_data, of_source.mv_data, own.mv_size) == 0;
    return status;
}
