-- one row: from when on a project's changes are unread, as the newest reading left it; null when it was never read
SELECT arg_max(watermark_at, pulled_at) AS watermark_at FROM pulls WHERE system = $system AND project = $project;
