/* test_model_files.c -- safetensors and model folders: right ones read, broken ones refused by name, none crashes. */
#include "test_support.h"

#include "encoder/encoder.h"
#include "encoder/model_config.h"
#include "encoder/safetensors.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static char *g_dir;

static void write_file(const char *name, const void *data, size_t size)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", g_dir, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    fclose(file);
}

static const char *path_of(const char *name)
{
    static char path[1200];
    snprintf(path, sizeof path, "%s/%s", g_dir, name);
    return path;
}

/* A safetensors file of `header` (JSON) and n_data bytes of data; its size. */
static size_t build(unsigned char *out, const char *header, const void *data, size_t n_data)
{
    uint64_t size = strlen(header);
    for (unsigned i = 0; i < 8; i++) out[i] = (unsigned char)(size >> (8 * i));
    memcpy(out + 8, header, size);
    memcpy(out + 8 + size, data, n_data);
    return 8 + size + n_data;
}

static void expect_refused(const char *header, size_t n_data, const char *word)
{
    unsigned char bytes[8192], data[256] = {0};
    write_file("bad.safetensors", bytes, build(bytes, header, data, n_data));
    mn_safetensors *file = (mn_safetensors *)1;
    mneme_error error;
    assert_int_equal(mn_safetensors_open(path_of("bad.safetensors"), &file, &error), MNEME_ERR_MODEL);
    assert_null(file);
    if (!strstr(error.message, word)) fail_msg("\"%s\" does not say \"%s\"", error.message, word);
}

static void safetensors_of_three_types_reads_as_f32(void **state)
{
    (void)state;
    /* 1.5, -2, 65504 (largest half), 2^-24 (smallest half) in IEEE 754; bf16 is the upper half of f32. */
    const unsigned char data[] = {0,    0,    0xC0, 0x3F, 0,    0,    0,    0xC0, 0x00, 0x3E, 0x00, 0xC0,
                                  0xFF, 0x7B, 0x01, 0x00, 0x00, 0x7C, 0x01, 0x80, 0xC0, 0x3F, 0x00, 0xC0};
    const char *header = "{\"__metadata__\":{\"format\":\"pt\"},"
                         "\"h\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[8,20]},"
                         "\"f\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                         "\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[20,24]}}";
    unsigned char bytes[1024];
    write_file("good.safetensors", bytes, build(bytes, header, data, sizeof data));
    mn_safetensors *file = NULL;
    assert_ok(mn_safetensors_open(path_of("good.safetensors"), &file, test_error()));
    assert_int_equal(mn_safetensors_count(file), 3);
    assert_string_equal(mn_safetensors_at(file, 0)->name, "b");
    float out[6];
    mn_tensor_to_f32(mn_safetensors_find(file, "f"), 0, 2, out);
    assert_true(out[0] == 1.5f && out[1] == -2.0f);
    const mn_tensor *half = mn_safetensors_find(file, "h");
    assert_int_equal(half->rank, 2);
    mn_tensor_to_f32(half, 0, 6, out);
    assert_true(out[0] == 1.5f && out[1] == -2.0f && out[2] == 65504.0f && out[3] == 0x1p-24f);
    assert_true(isinf(out[4]) && out[5] == -0x1p-24f);
    mn_tensor_to_f32(mn_safetensors_find(file, "b"), 1, 1, out);
    assert_true(out[0] == -2.0f);
    assert_null(mn_safetensors_find(file, "none"));
    mn_safetensors_close(file);
}

static void safetensors_with_a_bad_header_is_refused(void **state)
{
    (void)state;
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", 15, "cut short");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,12]}}", 16, "12 bytes");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[8,4]}}", 16, "8..4");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[-4],\"data_offsets\":[0,16]}}", 16, "shape");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 16, "shape");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 16, "bytes");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 16,
                   "dimensions");
    expect_refused("{\"a\":{\"dtype\":\"Q4\",\"shape\":[4],\"data_offsets\":[0,16]}}", 16, "Q4");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[4]}}", 16, "data_offsets");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                   "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
                   16, "a and b overlap");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]},"
                   "\"b\":{\"dtype\":\"U8\",\"shape\":[12],\"data_offsets\":[0,12]}}",
                   16, "b and a overlap");
    expect_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                   "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
                   16, "duplicate");
    expect_refused("{\"a\":7}", 16, "type");
    expect_refused("[1,2]", 16, "object");
    expect_refused("{\"a\":", 16, "header");
    expect_refused("[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]", 0, "nested");
}

static void safetensors_too_short_or_with_a_huge_header_is_refused(void **state)
{
    (void)state;
    mn_safetensors *file = NULL;
    mneme_error error;
    write_file("short", "1234567", 7);
    assert_int_equal(mn_safetensors_open(path_of("short"), &file, &error), MNEME_ERR_MODEL);
    write_file("huge", "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF{}", 10);
    assert_int_equal(mn_safetensors_open(path_of("huge"), &file, &error), MNEME_ERR_MODEL);
    write_file("empty", "", 0);
    assert_int_equal(mn_safetensors_open(path_of("empty"), &file, &error), MNEME_ERR_MODEL);
    assert_int_equal(mn_safetensors_open(path_of("none"), &file, &error), MNEME_ERR_MODEL);
    assert_non_null(strstr(error.message, "missing"));
}

static void safetensors_with_random_changes_never_crashes(void **state)
{
    (void)state;
    const char *header = "{\"h\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[8,20]},"
                         "\"f\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
    unsigned char good[512], bytes[512], data[20] = {0};
    size_t size = build(good, header, data, sizeof data);
    uint32_t seed = 12345, accepted = 0;
    for (int trial = 0; trial < 3000; trial++) {
        memcpy(bytes, good, size);
        for (int change = 0; change < 1 + trial % 3; change++) {
            seed = seed * 1664525u + 1013904223u;
            bytes[(seed >> 8) % size] = (unsigned char)(seed >> 24);
        }
        write_file("fuzz", bytes, trial % 5 ? size : size - (seed >> 20) % size);
        mn_safetensors *file = NULL;
        if (mn_safetensors_open(path_of("fuzz"), &file, NULL) != MNEME_OK) continue;
        accepted++;
        for (size_t i = 0; i < mn_safetensors_count(file); i++) {
            const mn_tensor *tensor = mn_safetensors_at(file, i);
            float out[64];
            if (tensor->type != MN_TENSOR_OTHER && tensor->n_elements <= 64)
                mn_tensor_to_f32(tensor, 0, (size_t)tensor->n_elements, out);
        }
        mn_safetensors_close(file);
    }
    assert_true(accepted > 0 && accepted < 3000);
}

/* ---- model folders: the real one, by links, with one thing wrong ---- */

static void link_model(void)
{
    char command[4000];
    snprintf(command, sizeof command, "rm -rf %s/model && cp -rs %s %s/model", g_dir, test_model_dir(), g_dir);
    assert_int_equal(system(command), 0);
}

static void replace(const char *name, const char *content)
{
    char in_model[1100];
    snprintf(in_model, sizeof in_model, "model/%s", name);
    unlink(path_of(in_model));
    if (content) write_file(in_model, content, strlen(content));
}

static void expect_model_refused(const char *word)
{
    char folder[1200];
    snprintf(folder, sizeof folder, "%s/model", g_dir);
    const mn_encoder_options options = {.folder = folder, .precision = "auto", .kernels = "auto", .threads = 1};
    mn_encoder *encoder = (mn_encoder *)1;
    mneme_error error;
    assert_int_equal(mn_encoder_open(&options, &encoder, &error), MNEME_ERR_MODEL);
    assert_null(encoder);
    if (!strstr(error.message, word)) fail_msg("\"%s\" does not say \"%s\"", error.message, word);
}

#define CONFIG(type, act, hidden, heads)                                                                               \
    "{\"model_type\":\"" type "\",\"hidden_act\":\"" act "\",\"hidden_size\":" hidden                                  \
    ",\"num_attention_heads\":" heads                                                                                  \
    ",\"intermediate_size\":1536,\"num_hidden_layers\":6,\"vocab_size\":30522,\"max_position_embeddings\":512}"

static void model_folder_with_one_thing_wrong_is_refused_by_name(void **state)
{
    (void)state;
    const struct {
        const char *file, *content, *word;
    } cases[] = {
        {"config.json", NULL, "config.json"},
        {"config.json", "{\"model_type\":", "config.json:1"},
        {"config.json", "[]", "model_type"},
        {"config.json", CONFIG("mpnet", "gelu", "384", "12"), "mpnet"},
        {"config.json", CONFIG("bert", "swish", "384", "12"), "swish"},
        {"config.json", CONFIG("bert", "gelu", "384", "7"), "multiple"},
        {"config.json", CONFIG("bert", "gelu", "-1", "12"), "hidden_size"},
        {"config.json", CONFIG("bert", "gelu", "99999999999", "12"), "hidden_size"},
        {"config.json", CONFIG("bert", "gelu", "768", "12"), "word_embeddings"},
        {"config.json", CONFIG("bert", "gelu", "384", "12,\"layer_norm_eps\":-1"), "layer_norm_eps"},
        {"config.json", CONFIG("bert", "gelu", "384", "12,\"layer_norm_eps\":1e300"), "layer_norm_eps"},
        {"config.json", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
         "nested"},
        {"modules.json", "[{\"type\":\"sentence_transformers.models.Dense\"}]", "Dense"},
        {"1_Pooling/config.json", "{\"pooling_mode\":\"lasttoken\"}", "lasttoken"},
        {"1_Pooling/config.json", "{\"pooling_mode\":\"median\"}", "median"},
        {"1_Pooling/config.json", "{\"pooling_mode\":[\"mean\",\"cls\"]}", "pooling_mode"},
        {"1_Pooling/config.json", "{\"pooling_mode_cls_token\":true,\"pooling_mode_mean_tokens\":true}", "another"},
        {"model.safetensors", NULL, "model.safetensors"},
        {"model.safetensors", "not a model", "model.safetensors"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        link_model();
        replace(cases[i].file, cases[i].content);
        expect_model_refused(cases[i].word);
    }
}

static void model_folder_that_is_not_there_is_refused(void **state)
{
    (void)state;
    char command[1200];
    snprintf(command, sizeof command, "rm -rf %s/model", g_dir);
    assert_int_equal(system(command), 0);
    expect_model_refused("does not exist");
}

static void model_with_truncated_weights_is_refused(void **state)
{
    (void)state;
    link_model();
    char command[4000];
    snprintf(command, sizeof command,
             "rm %s/model/model.safetensors && head -c 1000000 %s/model.safetensors > %s/model/model.safetensors",
             g_dir, test_model_dir(), g_dir);
    assert_int_equal(system(command), 0);
    expect_model_refused("cut short");
}

static void model_with_nan_weights_is_refused(void **state)
{
    (void)state;
    link_model();
    char command[4000];
    snprintf(command, sizeof command,
             "rm %s/model/model.safetensors && cp %s/model.safetensors %s/model/model.safetensors", g_dir,
             test_model_dir(), g_dir);
    assert_int_equal(system(command), 0);
    FILE *file = fopen(path_of("model/model.safetensors"), "r+b");
    assert_non_null(file);
    /* Into encoder.layer.0.intermediate.dense.weight, which lies at 50053120 behind the header of 11408 bytes. */
    fseek(file, 8 + 11408 + 50053120 + 400, SEEK_SET);
    fwrite("\x00\x00\xC0\x7F", 1, 4, file);
    fclose(file);
    expect_model_refused("layer.0.intermediate.dense.weight holds NaN");
}

static void model_config_defaults_and_prompts_are_read(void **state)
{
    (void)state;
    link_model();
    replace("config_sentence_transformers.json", "{\"prompts\":{\"query\":\"query: \",\"passage\":\"passage: \"}}");
    replace("sentence_bert_config.json", NULL);
    mn_model_config config;
    char folder[1200];
    snprintf(folder, sizeof folder, "%s/model", g_dir);
    assert_ok(mn_model_config_read(folder, &config, test_error()));
    assert_int_equal(config.max_tokens, 512);
    assert_int_equal(config.hidden, 384);
    assert_string_equal(config.query_prompt, "query: ");
    assert_string_equal(config.passage_prompt, "passage: ");
    mn_model_config_free(&config);
}

static void model_config_as_newer_versions_save_it_is_read(void **state)
{
    (void)state;
    link_model();
    replace("sentence_bert_config.json", "{\"transformer_task\":\"feature-extraction\"}");
    replace("tokenizer_config.json", "{\"model_max_length\":99}");
    replace("1_Pooling/config.json", "{\"pooling_mode\":\"cls\",\"include_prompt\":true}");
    mn_model_config config;
    char folder[1200];
    snprintf(folder, sizeof folder, "%s/model", g_dir);
    assert_ok(mn_model_config_read(folder, &config, test_error()));
    assert_int_equal(config.max_tokens, 99);
    assert_int_equal(config.pooling, MN_POOLING_CLS);
    mn_model_config_free(&config);
}

static void model_that_leaves_its_prompt_out_of_pooling_is_refused(void **state)
{
    (void)state;
    link_model();
    replace("1_Pooling/config.json", "{\"pooling_mode_mean_tokens\":true,\"include_prompt\":false}");
    mn_model_config config;
    char folder[1200];
    snprintf(folder, sizeof folder, "%s/model", g_dir);
    assert_ok(mn_model_config_read(folder, &config, test_error())); /* there is no prompt */
    mn_model_config_free(&config);
    replace("config_sentence_transformers.json", "{\"prompts\":{\"query\":\"query: \"}}");
    expect_model_refused("include_prompt");
}

static void model_without_a_tokenizer_limit_opens(void **state)
{
    (void)state;
    link_model();
    /* what transformers writes where no limit is known: int(1e30) */
    replace("tokenizer_config.json", "{\"do_lower_case\":true,\"model_max_length\":1000000000000000019884624838656}");
    replace("sentence_bert_config.json", NULL);
    char folder[1200];
    snprintf(folder, sizeof folder, "%s/model", g_dir);
    const mn_encoder_options options = {.folder = folder, .precision = "auto", .kernels = "auto", .threads = 1};
    mn_encoder *encoder = NULL;
    assert_ok(mn_encoder_open(&options, &encoder, test_error()));
    assert_int_equal(mn_encoder_info(encoder)->max_tokens, 512);
    mn_encoder_close(encoder);
}

static int make_dir(void **state)
{
    (void)state;
    g_dir = test_make_dir();
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    test_remove_dir(g_dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safetensors_of_three_types_reads_as_f32),
        cmocka_unit_test(safetensors_with_a_bad_header_is_refused),
        cmocka_unit_test(safetensors_too_short_or_with_a_huge_header_is_refused),
        cmocka_unit_test(safetensors_with_random_changes_never_crashes),
        cmocka_unit_test(model_folder_with_one_thing_wrong_is_refused_by_name),
        cmocka_unit_test(model_folder_that_is_not_there_is_refused),
        cmocka_unit_test(model_with_truncated_weights_is_refused),
        cmocka_unit_test(model_with_nan_weights_is_refused),
        cmocka_unit_test(model_config_defaults_and_prompts_are_read),
        cmocka_unit_test(model_config_as_newer_versions_save_it_is_read),
        cmocka_unit_test(model_that_leaves_its_prompt_out_of_pooling_is_refused),
        cmocka_unit_test(model_without_a_tokenizer_limit_opens),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
