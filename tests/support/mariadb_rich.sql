-- One of everything that a restore has to bring back.
SET sql_mode = '';
CREATE TABLE `t ü'"` (
  id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
  `größe €` decimal(20,6), d double, f float, b bit(10), bl longblob, vb varbinary(20),
  tx longtext CHARACTER SET utf8mb4, l1 varchar(50) CHARACTER SET latin1, u2 varchar(50)
  CHARACTER SET ucs2, dt datetime(6), ts timestamp(3) NULL, dd date, ti time(2), y year,
  en enum('a','b''c','ü'), se set('x','y'), js json, ip inet6, uu uuid, g geometry,
  secret int INVISIBLE DEFAULT 5,
  st int AS (secret * 2) STORED, vi varchar(60) AS (concat(l1, '!')) VIRTUAL,
  UNIQUE KEY (l1), KEY (dd), FULLTEXT KEY (tx), CHECK (secret > 0)
) ENGINE=InnoDB COMMENT='it''s; a "table"\\' DEFAULT CHARSET=latin1;
INSERT INTO `t ü'"` (`größe €`, d, f, b, bl, vb, tx, l1, u2, dt, ts, dd, ti, y, en, se, js, ip, uu,
  g, secret) VALUES
 (12345678901234.567891, 1e300, 0.5, b'1010101010', 0x00FF270D0A1A5C, x'', '😀 a''b\\c;\n-- d', 'é€',
  'ж', '0000-00-00 00:00:00', '2024-10-27 00:30:00.123', '0000-00-00', '-838:59:59', 1901, 'b''c',
  'x,y', '{"a": [1, null]}', '::1', '123e4567-e89b-12d3-a456-426655440000', point(1, 2), 9),
 (NULL, -0.0, NULL, NULL, NULL, NULL, '', '', '', '9999-12-31 23:59:59.999999', NULL, '2024-02-30',
  NULL, NULL, '', '', NULL, NULL, NULL, NULL, NULL),
 (0.1, 0.1, 3, 1, repeat(0x00, 70000), 0x80, repeat('ü😀', 30000), 'é€2', '𝄞', NULL, NULL, NULL, NULL,
  NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE zero (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, v int) ENGINE=InnoDB;
SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO';
INSERT INTO zero VALUES (0, 1), (7, 2);
CREATE TABLE child (id int PRIMARY KEY, z int, CONSTRAINT fk FOREIGN KEY (z) REFERENCES zero (id)
  ON DELETE CASCADE) ENGINE=InnoDB;
INSERT INTO child VALUES (1, 0), (2, 7);
CREATE TABLE aria (i int) ENGINE=Aria; INSERT INTO aria VALUES (1), (2), (2);
CREATE TABLE parted (i int, j int) ENGINE=InnoDB PARTITION BY RANGE (i)
  (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE);
INSERT INTO parted VALUES (1, 1), (11, 2);
CREATE TABLE log (what varchar(100));
CREATE SEQUENCE numbers START WITH 5 INCREMENT BY 3;
SELECT nextval(numbers);
-- By name, a_view comes before the view that it needs.
SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES';
CREATE OR REPLACE VIEW z_view AS SELECT id, "größe €" AS size FROM "t ü'""";
CREATE OR REPLACE VIEW a_view AS SELECT id FROM z_view;
CREATE EVENT "ansi ""quoted""" ON SCHEDULE EVERY 1 DAY DISABLE DO SET @x = 1;
CREATE FUNCTION "ansi ""f"""() RETURNS int DETERMINISTIC RETURN "plus"(1);
CREATE TRIGGER "ansi_t" BEFORE UPDATE ON child FOR EACH ROW SET @y = 1;
SET sql_mode = '';
CREATE FUNCTION plus(a int) RETURNS int DETERMINISTIC RETURN a + 1;
SET NAMES latin1;
DELIMITER ;;
CREATE PROCEDURE twice(IN p int)
BEGIN
  -- it's a comment; with a quote
  DECLARE t varchar(10) DEFAULT 'a;;b';
  SELECT plus(p), t, "ok"; /* and another ' one */
END ;;
SET NAMES utf8mb4 ;;
CREATE TRIGGER before_child BEFORE INSERT ON child FOR EACH ROW
BEGIN INSERT INTO log VALUES (concat('ü ', NEW.id)); END ;;
CREATE TRIGGER before_child_2 BEFORE INSERT ON child FOR EACH ROW SET @x = 1 ;;
SET time_zone = '+05:30' ;;
CREATE EVENT tick ON SCHEDULE EVERY 1 SECOND DO INSERT INTO log VALUES ('tick') ;;
CREATE EVENT asleep ON SCHEDULE EVERY 1 DAY DISABLE DO SET @x = 1 ;;
DELIMITER ;
