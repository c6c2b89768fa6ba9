-- Why records are bad: every reason, and a detail for a person.
--
-- follows:  `parsed`, from parse_json.sql or parse_avro.sql; the two together are one statement.
-- grain:    one row in, one row out; only for records that process.sql found invalid.
-- promise:  total and pure; `reasons` is never empty, its codes are those of schemas.event.REASONS, in that order.
--
-- Apart from process.sql because DuckDB pays for these branches on every row, valid ones too: a third of the whole step.
-- Null, absent and JSON null are one thing here: kind null.
named as (
    select
        row_number, fault, fault_detail,
        field.event_id, field.user_id, field.profile_id, field.session_id, field.event_type, field.playhead_s,
        coalesce(field.title_id, field.content_id) as title_id,
        nullif(kinds[1], 'NULL') as event_id_kind,
        nullif(kinds[2], 'NULL') as user_id_kind,
        nullif(kinds[3], 'NULL') as profile_id_kind,
        nullif(kinds[4], 'NULL') as session_id_kind,
        coalesce(nullif(kinds[5], 'NULL'), nullif(kinds[6], 'NULL')) as title_id_kind,
        nullif(kinds[7], 'NULL') as event_type_kind,
        nullif(kinds[8], 'NULL') as device_type_kind,
        nullif(kinds[9], 'NULL') as country_kind,
        nullif(kinds[10], 'NULL') as app_version_kind,
        nullif(kinds[12], 'NULL') as playhead_s_kind
    from parsed
),

judged as (
    select
        *,
        event_type_kind = 'VARCHAR'
            and event_type not in ('PLAY_START', 'PLAY_STOP', 'PAUSE', 'RESUME', 'SEEK', 'HEARTBEAT')
            as has_unknown_event_type,
        playhead_s_kind not in ('DOUBLE', 'BIGINT', 'UBIGINT', 'HUGEINT') as has_wrong_playhead_type,
        playhead_s_kind in ('DOUBLE', 'BIGINT', 'UBIGINT', 'HUGEINT')
            and not coalesce(playhead_s between 0.0 and 604800.0, false) as has_playhead_out_of_range
    from named
)

select
    row_number,
    case
        when fault is not null then [fault]
        else list_filter(
            [
                case when event_id_kind is null or event_id = '' then 'missing:event_id' end,
                case when user_id_kind is null or user_id = '' then 'missing:user_id' end,
                case when profile_id_kind is null or profile_id = '' then 'missing:profile_id' end,
                case when session_id_kind is null or session_id = '' then 'missing:session_id' end,
                case when title_id_kind is null or title_id = '' then 'missing:title_id' end,
                case when event_type_kind is null then 'missing:event_type' end,
                case when event_id_kind <> 'VARCHAR' then 'wrong_type:event_id' end,
                case when user_id_kind <> 'VARCHAR' then 'wrong_type:user_id' end,
                case when profile_id_kind <> 'VARCHAR' then 'wrong_type:profile_id' end,
                case when session_id_kind <> 'VARCHAR' then 'wrong_type:session_id' end,
                case when title_id_kind <> 'VARCHAR' then 'wrong_type:title_id' end,
                case when event_type_kind <> 'VARCHAR' then 'wrong_type:event_type' end,
                case when device_type_kind <> 'VARCHAR' then 'wrong_type:device_type' end,
                case when country_kind <> 'VARCHAR' then 'wrong_type:country' end,
                case when app_version_kind <> 'VARCHAR' then 'wrong_type:app_version' end,
                case when has_wrong_playhead_type then 'wrong_type:playhead_s' end,
                case when has_unknown_event_type then 'unknown_event_type' end,
                case when has_playhead_out_of_range then 'out_of_range:playhead_s' end
            ],
            lambda code: code is not null
        )
    end as reasons,
    nullif(
        concat_ws(
            '; ',
            fault_detail,
            case when event_id_kind <> 'VARCHAR' then 'event_id is ' || event_id_kind end,
            case when user_id_kind <> 'VARCHAR' then 'user_id is ' || user_id_kind end,
            case when profile_id_kind <> 'VARCHAR' then 'profile_id is ' || profile_id_kind end,
            case when session_id_kind <> 'VARCHAR' then 'session_id is ' || session_id_kind end,
            case when title_id_kind <> 'VARCHAR' then 'title_id is ' || title_id_kind end,
            case
                when event_type_kind <> 'VARCHAR' then 'event_type is ' || event_type_kind
                when has_unknown_event_type then 'event_type is ' || left(event_type, 60)
            end,
            case when device_type_kind <> 'VARCHAR' then 'device_type is ' || device_type_kind end,
            case when country_kind <> 'VARCHAR' then 'country is ' || country_kind end,
            case when app_version_kind <> 'VARCHAR' then 'app_version is ' || app_version_kind end,
            case
                when has_wrong_playhead_type then 'playhead_s is ' || playhead_s_kind
                when has_playhead_out_of_range then 'playhead_s is ' || playhead_s::varchar
            end
        ),
        ''
    ) as detail
from judged
order by row_number
