-- grain:    one row per source.
-- purpose:  the sums of `verify`, each checked position by position elsewhere: no sum here is a proof.
-- reads:    sources, positions and unfated (positions.sql)
with duplicates as (
    select source_id, count(*) as duplicates from unfated where is_duplicate group by all
)

select
    sources.source_id,
    coalesce(any_value(sources.start), min(kafka_offset)) as first_offset,
    any_value(sources.done) as done,
    coalesce(sum(bronze), 0)::bigint as bronze,
    coalesce(sum(silver), 0)::bigint as silver,
    coalesce(sum(quarantine), 0)::bigint as quarantine,
    count(*) filter (where kafka_offset <= sources.done) as done_positions,
    coalesce(any_value(duplicates), 0) as duplicates,
    coalesce(sum(bronze) filter (where sources.done is null or kafka_offset > sources.done), 0)::bigint
        as bronze_in_flight,
    coalesce(sum(quarantine) filter (where sources.done is null or kafka_offset > sources.done), 0)::bigint
        as quarantine_in_flight,
    count(*) filter (where is_expired and bronze = 0) as expired,
    count(*) filter (where is_settled and not is_forgotten and silver = 0 and quarantine = 0) as settled,
    count(*) filter (where is_forgotten) as forgotten
from sources
left join positions using (source_id)
left join duplicates using (source_id)
group by sources.source_id
order by sources.source_id
