/* record_hash.c -- XXH3-128 of a record's content and of the settings that cut it. */
#include "memory/record_hash.h"

#include "common/buffer.h"

#include <string.h>
#include <xxhash.h>

mneme_status mn_record_hash(const mneme_record *r, const mn_settings_values *values, uint64_t hash[2],
                            mneme_error *error)
{
    const char *strings[] = {r->title, r->session, r->speaker, r->metadata, r->source};
    int64_t numbers[] = {r->has_time, r->has_time ? r->time_ms : 0, r->vector ? (int64_t)r->dimension : 0,
                         r->vector ? 0 : values->chunk_max_tokens, r->vector ? 0 : values->chunk_overlap_tokens};
    mn_buffer head = {0};
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        mn_buffer_byte(&head, strings[i] ? 's' : '-');
        if (strings[i]) mn_buffer_append(&head, strings[i], strlen(strings[i]) + 1);
    }
    mn_buffer_append(&head, numbers, sizeof numbers);
    if (r->vector) mn_buffer_append(&head, r->vector, r->dimension * sizeof *r->vector);
    if (head.failed) {
        mn_buffer_free(&head);
        return mn_fail_memory(error, "record");
    }
    XXH128_hash_t of_head = XXH3_128bits(head.data, head.size);
    XXH128_hash_t of_text = XXH3_128bits_withSeed(r->text, r->text_size, of_head.low64);
    hash[0] = of_text.low64;
    hash[1] = of_text.high64 ^ of_head.high64;
    mn_buffer_free(&head);
    return MNEME_OK;
}
